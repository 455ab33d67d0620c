// A histogram with a threshold at either end. Dragged, a threshold goes from edge to edge of the bars; typed ones may lie
// between. At the outer edge there is none: what lies beyond the last bar stays in.

const SVG = 'http://www.w3.org/2000/svg'
const SPACE = { left: 58, right: 18, top: 26, bottom: 44 }
const NEAR = 9
const seen = new WeakMap()

export default function (component) {
  const { data, parentElement, setTriggerValue } = component
  const box = parentElement.querySelector('.plot')
  let plot = seen.get(parentElement)
  if (!plot) {
    plot = { box, svg: box.querySelector('svg'), tip: box.querySelector('.tip'), moving: null }
    seen.set(parentElement, plot)
    plot.watch = new ResizeObserver(() => draw(plot))
    plot.watch.observe(box)
    listen(plot)
  }
  plot.data = data
  plot.send = range => setTriggerValue('range', range)
  plot.number = new Intl.NumberFormat(data.locale, { maximumSignificantDigits: 6 })
  plot.count = new Intl.NumberFormat(data.locale)
  if (!plot.moving) plot.limits = [...data.limits]
  draw(plot)
  return () => {}
}

// ------------------------------------------------------------------ places

// The bars are centred on a number where each is of one whole number.
const single = d => d.whole && d.bins.length > 0 && d.bins[0][1] - d.bins[0][0] === 1
const ends = d => [d.bins[0][0], d.bins[d.bins.length - 1][1]]

function places(plot) {
  const [low, high] = ends(plot.data), width = plot.box.clientWidth, height = plot.box.clientHeight
  const right = width - SPACE.right, bottom = height - SPACE.bottom, most = Math.max(...plot.data.bins.map(b => b[2]))
  const x = value => SPACE.left + (value - low) / (high - low || 1) * (right - SPACE.left)
  const value = at => low + (at - SPACE.left) / (right - SPACE.left) * (high - low)
  return { low, high, width, height, right, bottom, x, value, y: n => bottom - n / most * (bottom - SPACE.top), most }
}

// Where a threshold stands: what is kept lies between the two places, a whole number in its bar.
function standing(plot, side) {
  const limit = plot.limits[side], [low, high] = ends(plot.data)
  if (limit === null || limit === undefined) return side ? high : low
  const beside = single(plot.data) ? (side ? 0.5 : -0.5) : plot.data.whole && side ? 1 : 0
  return Math.min(high, Math.max(low, limit + beside))
}

// The threshold at an edge of the bars: none at the outer one.
function limitAt(plot, side, edge) {
  const [low, high] = ends(plot.data)
  if (side ? edge >= high : edge <= low) return null
  if (single(plot.data)) return side ? edge - 0.5 : edge + 0.5
  return side && plot.data.whole ? edge - 1 : edge
}

function edges(plot) {
  const found = new Set()
  const [low, high] = ends(plot.data), width = plot.data.bins[0][1] - plot.data.bins[0][0]
  const many = Math.max(1, Math.round((high - low) / width))
  for (let i = 0; i <= many; i++) found.add(i === many ? high : low + i * width)
  return [...found]
}

const nearest = (all, value) => all.reduce((a, b) => Math.abs(b - value) < Math.abs(a - value) ? b : a)

// ------------------------------------------------------------------ drawing

function made(name, attributes, inside = []) {
  const node = document.createElementNS(SVG, name)
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value)
  node.append(...inside)
  return node
}

function draw(plot) {
  if (!plot.data || !plot.data.bins.length || !plot.box.clientWidth) return
  const at = places(plot), { data, svg } = plot
  const focused = svg.getRootNode().activeElement?.dataset?.side
  svg.setAttribute('viewBox', `0 0 ${at.width} ${at.height}`)
  svg.setAttribute('role', 'group')
  svg.setAttribute('aria-label', data.alt)
  const [from, to] = [standing(plot, 0), standing(plot, 1)]
  const marks = [...axes(plot, at), ...bars(plot, at, from, to)]
  if (from > at.low) marks.push(made('rect', { class: 'outside', x: SPACE.left, y: SPACE.top, width: at.x(from) - SPACE.left, height: at.bottom - SPACE.top }))
  if (to < at.high) marks.push(made('rect', { class: 'outside', x: at.x(to), y: SPACE.top, width: at.right - at.x(to), height: at.bottom - SPACE.top }))
  svg.replaceChildren(...marks, handle(plot, at, 0, from), handle(plot, at, 1, to))
  if (focused !== undefined) svg.querySelector(`[data-side="${focused}"]`)?.focus()
}

function bars(plot, at, from, to) {
  const gap = at.right - SPACE.left > 6 * plot.data.bins.length ? 1 : 0
  return plot.data.bins.flatMap(([low, high, samples]) => {
    // A bar in which a threshold lies is drawn in two parts.
    const cuts = [low, ...[from, to].filter(v => v > low && v < high), high]
    return cuts.slice(1).map((end, i) => {
      const kept = cuts[i] >= from && end <= to
      const width = Math.max(0.75, at.x(end) - at.x(cuts[i]) - gap), y = Math.min(at.y(samples), at.bottom - 1)
      return made('rect', { class: kept ? 'kept' : 'left', x: at.x(cuts[i]) + gap / 2, y, width, height: at.bottom - y })
    })
  })
}

function axes(plot, at) {
  const marks = []
  for (const n of ticks(0, at.most, 4, true)) {
    marks.push(made('line', { class: 'grid', x1: SPACE.left, x2: at.right, y1: at.y(n), y2: at.y(n) }))
    marks.push(made('text', { class: 'end', x: SPACE.left - 8, y: at.y(n) + 4 }, [plot.count.format(n)]))
  }
  for (const value of ticks(at.low, at.high, Math.max(2, Math.floor((at.right - SPACE.left) / 90)), plot.data.whole))
    marks.push(made('text', { class: 'middle', x: at.x(value), y: at.bottom + 17 }, [plot.number.format(value)]))
  marks.push(made('text', { class: 'middle', x: (SPACE.left + at.right) / 2, y: at.bottom + 37 }, [plot.data.title]))
  marks.push(made('text', { class: 'end', x: SPACE.left - 8, y: 12 }, [plot.data.texts.samples]))
  return marks
}

function ticks(low, high, many, whole) {
  const raw = (high - low) / many || 1, size = 10 ** Math.floor(Math.log10(raw))
  let step = [1, 2, 2.5, 5, 10].map(f => f * size).find(s => s >= raw)
  if (whole) step = Math.max(1, Math.round(step))
  const found = []
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(Number((i * step).toPrecision(12)))
  return found
}

function handle(plot, at, side, place) {
  const { data } = plot, x = at.x(place), limit = plot.limits[side]
  const told = limit === null || limit === undefined ? '' : `${side ? '≤' : '≥'} ${plot.number.format(limit)}`
  const middle = (SPACE.top + at.bottom) / 2
  const group = made('g', {
    class: 'handle', 'data-side': side, tabindex: 0, role: 'slider', 'aria-label': side ? data.texts.upper : data.texts.lower,
    'aria-valuemin': at.low, 'aria-valuemax': at.high, 'aria-valuenow': limit ?? (side ? at.high : at.low),
    'aria-valuetext': told || data.texts.none,
  }, [
    made('rect', { class: 'reach', x: x - NEAR, y: SPACE.top, width: 2 * NEAR, height: at.bottom - SPACE.top }),
    made('line', { class: 'line', x1: x, x2: x, y1: SPACE.top - 4, y2: at.bottom }),
    made('rect', { class: 'grip', x: x - 5, y: middle - 13, width: 10, height: 26, rx: 4 }),
  ])
  // Labels lean away from the edge, and from each other where both are near.
  const close = Math.abs(at.x(standing(plot, 1)) - at.x(standing(plot, 0))) < 120
  const anchor = side ? (close && x < at.right - 70 ? 'start' : 'end') : (close && x > SPACE.left + 70 ? 'end' : 'start')
  if (told) group.append(made('text', { x, y: SPACE.top - 10, style: `text-anchor:${anchor}` }, [told]))
  group.onkeydown = event => step(plot, side, event)
  return group
}


// ------------------------------------------------------------------ moving

function step(plot, side, event) {
  const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -5, PageUp: 5, Home: -Infinity, End: Infinity }[event.key]
  if (by === undefined) return
  event.preventDefault()
  const all = edges(plot), now = all.indexOf(nearest(all, standing(plot, side)))
  move(plot, side, all[Math.min(all.length - 1, Math.max(0, now + by))])
  clearTimeout(plot.waiting)
  plot.waiting = setTimeout(() => plot.send(plot.limits), 350)
}

function move(plot, side, edge) {
  const other = standing(plot, 1 - side)
  // Never past the other one: at least one bar stays between them.
  const all = edges(plot).filter(e => side ? e > other : e < other)
  plot.limits[side] = limitAt(plot, side, all.length ? nearest(all, edge) : edge)
  draw(plot)
}

function listen(plot) {
  const { svg } = plot
  const where = event => { const b = svg.getBoundingClientRect(); return event.clientX - b.left }
  svg.onpointerdown = event => {
    if (!plot.data?.bins.length || event.button) return
    const at = places(plot), x = where(event)
    const far = [0, 1].map(side => Math.abs(at.x(standing(plot, side)) - x))
    const side = far[0] <= far[1] ? 0 : 1
    svg.setPointerCapture(event.pointerId)
    plot.moving = Math.min(...far) <= NEAR ? { side, began: x } : { side: null, began: x, was: [...plot.limits] }
  }
  svg.onpointermove = event => {
    const x = where(event)
    if (plot.moving) drag(plot, x)
    tell(plot, x)
  }
  svg.onpointerup = event => {
    const moving = plot.moving
    plot.moving = null
    if (!moving) return
    if (moving.side === null && !moving.drawn) pick(plot, where(event))
    plot.send(plot.limits)
  }
  svg.onpointercancel = () => { plot.moving = null }
  svg.onpointerleave = () => { if (!plot.moving) plot.tip.hidden = true }
}

function drag(plot, x) {
  const { moving } = plot, at = places(plot)
  if (moving.side !== null) return move(plot, moving.side, at.value(x))
  if (Math.abs(x - moving.began) < 5) return
  moving.drawn = true
  const all = edges(plot)
  const [a, b] = [moving.began, x].map(each => nearest(all, at.value(each))).sort((p, q) => p - q)
  if (a === b) return
  plot.limits = [limitAt(plot, 0, a), limitAt(plot, 1, b)]
  draw(plot)
}

// A click on a bar keeps that bar; a click on the only kept bar takes both thresholds away.
function pick(plot, x) {
  const bar = under(plot, x)
  if (!bar) return
  const chosen = [limitAt(plot, 0, bar[0]), limitAt(plot, 1, bar[1])]
  const same = chosen.every((limit, side) => limit === plot.limits[side])
  plot.limits = same ? [null, null] : chosen
  draw(plot)
}

const under = (plot, x) => { const v = places(plot).value(x); return plot.data.bins.find(b => b[0] <= v && v < b[1]) }

function tell(plot, x) {
  const { data, tip } = plot
  if (!data?.bins.length) return
  const at = places(plot), words = data.texts
  let text = ''
  if (plot.moving && (plot.moving.drawn || plot.moving.side !== null)) {
    const [from, to] = [standing(plot, 0), standing(plot, 1)]
    const inside = data.bins.reduce((n, [low, high, samples]) => {
      const share = Math.max(0, Math.min(high, to) - Math.max(low, from)) / (high - low)
      return n + samples * share
    }, 0)
    text = `${words.about} ${plot.count.format(Math.round(inside))} ${words.samples}`
  } else {
    const bar = under(plot, x)
    if (bar) {
      const place = data.bins.indexOf(bar), last = data.bins.length - 1
      const range = single(data) ? plot.number.format((bar[0] + bar[1]) / 2) : `${words.from} ${plot.number.format(bar[0])} ${words.to} ${plot.number.format(data.whole ? bar[1] - 1 : bar[1])}`
      const beyond = (place === 0 && data.clipped[0]) || (place === last && data.clipped[1]) ? ` ${words.beyond}` : ''
      text = `${range}${beyond}: ${plot.count.format(bar[2])} ${words.samples}`
    }
  }
  tip.hidden = !text
  tip.textContent = text
  const width = tip.offsetWidth
  tip.style.left = `${Math.min(at.width - width, Math.max(0, x - width / 2))}px`
}
