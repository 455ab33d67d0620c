// Saves the chart of a container as a PNG, twice as large as on the screen, on the page's own background.

const SCALE = 2
const MARGIN = 12 * SCALE
const SVG = 'http://www.w3.org/2000/svg'
const ICON = 'M2.5 3.5h11v9h-11z M2.5 11l3.2-3.4 2.4 2.4 1.6-1.6 3.8 3.6'

export default function ({ data, parentElement }) {
  const button = parentElement.querySelector('button')
  button.replaceChildren(icon(), document.createTextNode(data.label))
  button.title = data.help
  button.onclick = async () => {
    const saved = await picture(document.querySelector(`.${CSS.escape(data.container)}`), button).catch(() => null)
    if (!saved) { button.lastChild.textContent = data.failed; return }
    const link = document.createElement('a')
    link.href = URL.createObjectURL(saved)
    link.download = data.file
    link.click()
    setTimeout(() => URL.revokeObjectURL(link.href), 10000)
  }
}

function icon() {
  const drawn = document.createElementNS(SVG, 'svg'), path = document.createElementNS(SVG, 'path')
  drawn.setAttribute('viewBox', '0 0 16 16')
  drawn.setAttribute('aria-hidden', 'true')
  path.setAttribute('d', ICON)
  drawn.append(path)
  return drawn
}

// Everything drawn in the container that is a chart: an icon of a toolbar is not.
function charts(box) {
  const found = []
  const look = root => {
    for (const each of root.querySelectorAll('*')) {
      if (each.shadowRoot) look(each.shadowRoot)
      const { width, height } = each.getBoundingClientRect()
      const drawn = each instanceof HTMLCanvasElement || (each instanceof SVGSVGElement && !each.parentElement?.closest('svg'))
      if (drawn && width > 60 && height > 40) found.push(each)
    }
  }
  look(box)
  return found
}

async function picture(box, near) {
  const found = charts(box)
  if (!found.length) return null
  const boxes = found.map(each => each.getBoundingClientRect())
  const left = Math.min(...boxes.map(b => b.left)), top = Math.min(...boxes.map(b => b.top))
  const sheet = document.createElement('canvas'), ink = sheet.getContext('2d')
  sheet.width = (Math.max(...boxes.map(b => b.right)) - left) * SCALE + 2 * MARGIN
  sheet.height = (Math.max(...boxes.map(b => b.bottom)) - top) * SCALE + 2 * MARGIN
  ink.fillStyle = getComputedStyle(near).getPropertyValue('--st-background-color') || '#fff'
  ink.fillRect(0, 0, sheet.width, sheet.height)
  for (const [place, each] of found.entries()) {
    const b = boxes[place]
    const drawn = each instanceof HTMLCanvasElement ? each : await loaded(each, b)
    const x = (b.left - left) * SCALE + MARGIN, y = (b.top - top) * SCALE + MARGIN
    ink.drawImage(drawn, x, y, b.width * SCALE, b.height * SCALE)
  }
  return new Promise(done => sheet.toBlob(done, 'image/png'))
}

// An image knows nothing of the page's styles: what they say is written into a copy.
async function loaded(svg, box) {
  const copy = svg.cloneNode(true)
  const from = [svg, ...svg.querySelectorAll('*')], to = [copy, ...copy.querySelectorAll('*')]
  from.forEach((each, place) => {
    const seen = getComputedStyle(each)
    for (const name of ['fill', 'stroke', 'stroke-width', 'stroke-dasharray', 'opacity', 'fill-opacity', 'font', 'text-anchor', 'display', 'visibility', 'paint-order'])
      to[place].style.setProperty(name, seen.getPropertyValue(name))
  })
  copy.setAttribute('xmlns', SVG)
  copy.setAttribute('width', box.width * SCALE)
  copy.setAttribute('height', box.height * SCALE)
  if (!copy.getAttribute('viewBox')) copy.setAttribute('viewBox', `0 0 ${box.width} ${box.height}`)
  const image = new Image()
  image.src = URL.createObjectURL(new Blob([new XMLSerializer().serializeToString(copy)], { type: 'image/svg+xml' }))
  await image.decode()
  URL.revokeObjectURL(image.src)
  return image
}
