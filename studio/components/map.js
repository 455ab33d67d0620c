// A map of points on WebGL 2: pan, zoom, lasso, legend, titles. No build step, nothing from the network.
//
// What it draws comes as bytes in three parts, in one message or in three, which a colour or a filter sends alone:
// u32 length of the header | header (JSON, padded to 4 bytes) | points: u16 x, y per point | colours: u8 per point |
// marks: a bit per point for each plane that the header names. Every text is written with textContent: it may hold
// anything.

const VERTEX = `#version 300 es
in vec2 place; in float colour; in float marks;
uniform vec4 view; uniform float size; uniform float pass; uniform vec4 modes; uniform float strength; uniform vec4 grey;
uniform sampler2D palette; out vec4 tint; out float edge;
void main() {
  int m = int(marks + .5);
  bool within = (m & 1) != 0, lit = (m & 2) != 0, over = (m & 4) != 0;
  vec4 own = texelFetch(palette, ivec2(int(colour + .5), 0), 0);
  bool back = !within || (modes.x > .5 && !lit) || (modes.y > .5 && !over);
  bool gone = own.a < .01 || (modes.z > .5 && !within) || (pass > .5) == back;
  gl_Position = gone ? vec4(9., 9., 9., 1.) : vec4((place - view.xy) * view.zw, 0., 1.);
  bool strong = !back && modes.x + modes.y > .5;
  gl_PointSize = size * (strong ? 1.5 : 1.);
  edge = min(.5, 1.2 / gl_PointSize);
  float a = back ? grey.a : min(1., strength * (strong ? 1.4 : 1.));
  tint = vec4((back ? grey.rgb : own.rgb) * a, a);
}`
const FRAGMENT = `#version 300 es
precision mediump float; in vec4 tint; in float edge; out vec4 shown;
void main() {
  float d = length(gl_PointCoord - .5);
  if (d > .5) discard;
  shown = tint * smoothstep(.5, .5 - edge, d);
}`

const ICONS = {
  lasso: "M7 15c-3-1-5-3-5-5 0-4 4-6 8-6s8 2 8 6-4 6-8 6c-1 0-2 0-3-1zm0 0c-1 2 1 3 0 5",
  pan: "M10 2v16M2 10h16M10 2 8 4m2-2 2 2M10 18l-2-2m2 2 2-2M2 10l2-2m-2 2 2 2M18 10l-2-2m2 2-2 2",
  closer: "M10 4v12M4 10h12", farther: "M4 10h12", whole: "M3 7V3h4M13 3h4v4M17 13v4h-4M7 17H3v-4",
  titles: "M4 5h12M10 5v11", image: "M10 3v10m0 0-4-4m4 4 4-4M4 17h12",
}
const MAPS = new WeakMap()
const REACH = 12, NOTHING = 255, TOOLS = 44
const OTHERS = { category: 8, cluster: 250 }
// How the theme's colours come again when there are more clusters than colours: as they are, darker, paler, ...
const SHADES = [[0, 0], [0, .38], [255, .4], [0, .62], [255, .62]]

const rgb = text => {
  const hex = text.trim().replace("#", "")
  return hex.length >= 6 ? [0, 2, 4].map(i => parseInt(hex.slice(i, i + 2), 16)) : [128, 128, 128]
}
const PLANES = { within: 1, lit: 2, over: 4 }
const headed = bytes => {
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true)
  return [JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length))), 4 + length]
}
const same = (one, other) => one && one.length === other.length && one.every((b, i) => b === other[i])
// The arrays of the parts that a message holds.
const read = (bytes, header, at) => {
  const { n, parts } = header, found = {}
  const next = length => bytes.slice(at, at += length)
  if (parts.includes("points")) found.xy = new Uint16Array(next(4 * n).buffer)
  if (parts.includes("colours")) found.colour = header.kind === "none" ? new Uint8Array(n) : next(n)
  if (parts.includes("marks")) {
    const marks = found.marks = new Uint8Array(n).fill(header.planes.includes("within") ? 0 : PLANES.within)
    for (const plane of header.planes) {
      const bits = next(Math.ceil(n / 8)), mark = PLANES[plane]
      for (let i = 0; i < n; i++) if (bits[i >> 3] >> (i & 7) & 1) marks[i] |= mark
    }
  }
  return found
}

class Drawing {
  constructor(root, say) {
    this.root = root
    this.say = say
    for (const part of ["points", "over", "legend", "tools", "hint", "words", "missing"]) this[part] = root.querySelector("." + part)
    this.box = root.querySelector(".map")
    Object.assign(this, { cx: .5, cy: .5, zoom: 1, panning: false, titled: true, hidden: new Set(), line: null, known: new Map(), parts: {} })
    this.gl = this.points.getContext("webgl2", { antialias: false, preserveDrawingBuffer: true })
    this.pen = this.over.getContext("2d")
    if (this.gl) this.prepare()
    this.listen()
    new ResizeObserver(() => this.data && this.resize()).observe(this.box)
  }

  prepare() {
    const gl = this.gl, program = this.program = gl.createProgram()
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind)
      gl.shaderSource(shader, source)
      gl.compileShader(shader)
      gl.attachShader(program, shader)
    }
    gl.linkProgram(program)
    gl.useProgram(program)
    gl.enable(gl.BLEND)
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA)
    this.at = name => gl.getUniformLocation(program, name)
    this.buffers = { place: gl.createBuffer(), colour: gl.createBuffer(), marks: gl.createBuffer() }
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture())
    for (const way of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, way, gl.NEAREST)
  }

  // A part of another map than the one that is drawn is passed over: its points are on their way.
  take(bytes) {
    const [header, at] = headed(bytes), whole = header.parts.includes("points")
    if (!whole && (!this.base || header.map !== this.base.map || header.n !== this.base.n)) return
    const key = header.parts.join()
    // The same bytes come again whenever the page is drawn anew.
    if (same(this.parts[key], bytes)) return this.paint()
    this.parts[key] = bytes
    this.taken ||= performance.now()
    const before = this.base, moved = whole && (!before || before.map !== header.map || before.n !== header.n)
    if (moved) {
      this.parts = { [key]: bytes }
      this.base = {}
      this.data = null
    }
    const found = read(bytes, header, at)
    Object.assign(this.base, header, found)
    if (moved) {
      Object.assign(this, { line: null, known: new Map() })
      this.middle()
    }
    // A number of the legend that means another value now hides nothing.
    const coloured = header.legend && JSON.stringify([header.colour_by, header.legend.entries.map(e => e.slice(0, 2))])
    if (coloured !== undefined && coloured !== this.coloured) {
      this.hidden.clear()
      this.coloured = coloured
    }
    if (whole) {
      this.words_()
      if (!this.gl) {
        this.missing.textContent = this.base.words.missing
        this.missing.style.display = "grid"
      }
    }
    if (this.gl) this.upload(found)
    if (!(this.base.colour && this.base.marks)) return
    this.data = this.base
    this.over.setAttribute("aria-label", this.data.label || this.data.words.label)
    this.points.dataset.samples = this.data.n
    this.paint()
  }

  upload(found) {
    const gl = this.gl
    for (const [name, values, count, type, whole] of [
      ["place", found.xy, 2, gl.UNSIGNED_SHORT, true], ["colour", found.colour, 1, gl.UNSIGNED_BYTE, false],
      ["marks", found.marks, 1, gl.UNSIGNED_BYTE, false],
    ]) {
      if (!values) continue
      gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name])
      gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW)
      const at = gl.getAttribLocation(this.program, name)
      gl.enableVertexAttribArray(at)
      gl.vertexAttribPointer(at, count, type, whole, 0, 0)
    }
  }

  // Theme, legend and size may have changed since.
  paint() {
    if (!this.gl || !this.data) return
    const css = getComputedStyle(this.box), list = name => css.getPropertyValue(name).split(",").map(rgb)
    this.dark = rgbOf(css.backgroundColor).reduce((a, b) => a + b) < 380
    this.ink = css.color
    this.paper = css.backgroundColor
    this.primary = css.getPropertyValue("--st-primary-color").trim() || "#4f46e5"
    const ramp = list("--st-chart-sequential-colors"), own = list("--st-chart-categorical-colors")
    // The palest steps of the ramp can't be told from the page.
    const steps = ramp.length > 4 ? ramp.slice(2) : own.slice(0, 1)
    const grey = this.dark ? [120, 122, 135] : [150, 152, 165]
    this.palette = new Uint8Array(256 * 4)
    for (let i = 0; i < 256; i++) {
      let tint = shaded(own[i % own.length], this.data.kind === "cluster" ? Math.floor(i / own.length) : 0)
      if (this.data.kind === "number") {
        const at = i / 254 * (steps.length - 1), low = Math.min(Math.floor(at), steps.length - 1), high = Math.min(low + 1, steps.length - 1)
        tint = steps[low].map((c, k) => c + (steps[high][k] - c) * (at - low))
      } else if (i === OTHERS[this.data.kind]) tint = this.dark ? [150, 152, 165] : [113, 115, 130]
      if (i === NOTHING) tint = grey
      this.palette.set([...tint, this.hidden.has(i) ? 0 : 255], 4 * i)
    }
    const gl = this.gl
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 256, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, this.palette)
    this.grey = grey
    this.legend_()
    this.resize()
  }

  resize() {
    const ratio = devicePixelRatio || 1
    this.w = this.box.clientWidth
    this.h = this.box.clientHeight
    this.place_()
    for (const canvas of [this.points, this.over]) {
      canvas.width = this.w * ratio
      canvas.height = this.h * ratio
    }
    this.draw()
  }

  get scale() {
    const [x1, x2, y1, y2] = this.base.box
    return Math.min((this.w - this.left - this.right) / (x2 - x1), (this.h - this.bottom) / (y2 - y1)) * .94 * this.zoom
  }

  // The legend stands beside the map or, where that leaves more of the window, below it: it covers no points.
  place_() {
    const wide = 228, high = 104
    const below = Math.min(this.w - wide - TOOLS, this.h) < Math.min(this.w - TOOLS, this.h - high)
    this.legend.classList.toggle("below", below)
    const { offsetWidth, offsetHeight } = this.legend
    this.left = below || !offsetWidth ? 0 : offsetWidth + 8
    const under = this.under = below && offsetHeight ? offsetHeight + 8 : 0
    this.hint.style.bottom = under + 8 + "px"
    this.bottom = under + this.hint.offsetHeight + 8
  }
  get right() { return TOOLS }
  get middleX() { return (this.w + this.left - this.right) / 2 }
  get middleY() { return (this.h - this.bottom) / 2 }
  toScreen(x, y) { return [this.middleX + (x - this.cx) * this.scale, this.middleY - (y - this.cy) * this.scale] }
  toMap(x, y) { return [this.cx + (x - this.middleX) / this.scale, this.cy - (y - this.middleY) / this.scale] }

  draw() {
    if (!this.gl || !this.data || this.waiting) return
    this.waiting = requestAnimationFrame(() => { this.waiting = 0; this.drawNow() })
  }

  drawNow() {
    const gl = this.gl, ratio = devicePixelRatio || 1, { n, planes } = this.data, has = plane => planes.includes(plane), began = performance.now()
    gl.viewport(0, 0, this.points.width, this.points.height)
    gl.clearColor(0, 0, 0, 0)
    gl.clear(gl.COLOR_BUFFER_BIT)
    gl.uniform4f(this.at("view"), this.cx + (this.w / 2 - this.middleX) / this.scale, this.cy + (this.middleY - this.h / 2) / this.scale, 2 * this.scale / this.w, 2 * this.scale / this.h)
    const small = n > 200000 ? 1.8 : n > 20000 ? 2.8 : n > 3000 ? 4.5 : 7
    gl.uniform1f(this.at("size"), Math.min(10, small * Math.pow(this.zoom, .35)) * ratio)
    gl.uniform1f(this.at("strength"), n > 200000 ? .45 : n > 20000 ? .6 : .85)
    gl.uniform4f(this.at("modes"), +has("lit"), +has("over"), +this.data.hide, 0)
    gl.uniform4f(this.at("grey"), ...this.grey.map(c => c / 255), n > 20000 ? .16 : .28)
    for (const pass of this.data.planes.length ? [0, 1] : [1]) {
      gl.uniform1f(this.at("pass"), pass)
      gl.drawArrays(gl.POINTS, 0, n)
    }
    this.over_()
    this.points.dataset.frame = (performance.now() - began).toFixed(1)
    if (this.taken) {
      gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4)) // waits until the points are there
      this.points.dataset.painted = (performance.now() - this.taken).toFixed(0)
      this.taken = 0
    }
  }

  over_() {
    const pen = this.pen, ratio = devicePixelRatio || 1
    pen.setTransform(ratio, 0, 0, ratio, 0, 0)
    pen.clearRect(0, 0, this.w, this.h)
    this.cells_(pen)
    if (this.titled) this.titles_(pen)
    if (this.line && this.line.length > 1) {
      pen.beginPath()
      this.line.forEach(([x, y], i) => pen[i ? "lineTo" : "moveTo"](...this.toScreen(x, y)))
      pen.closePath()
      pen.globalAlpha = .12
      pen.fillStyle = this.primary
      pen.fill("evenodd")
      pen.globalAlpha = 1
      pen.strokeStyle = this.primary
      pen.lineWidth = 1.75
      pen.stroke()
    }
  }

  cells_(pen) {
    const { cells, grid } = this.data, side = this.scale / grid
    pen.textAlign = "center"
    pen.textBaseline = "middle"
    pen.font = `600 ${Math.min(15, side * .7)}px ${getComputedStyle(this.box).fontFamily}`
    for (const [column, row, level] of cells) {
      const [x, y] = this.toScreen(column / grid, (row + 1) / grid), tint = `rgb(${this.palette.slice(level > 0 ? 4 : 8, level > 0 ? 7 : 11).join(",")})`
      pen.globalAlpha = .12 + .13 * Math.abs(level)
      pen.fillStyle = tint
      pen.fillRect(x, y, side - 1, side - 1)
      pen.globalAlpha = 1
      pen.fillStyle = this.ink
      if (side > 9) pen.fillText(level > 0 ? "+" : "−", x + side / 2, y + side / 2 + 1)
    }
  }

  titles_(pen) {
    const taken = []
    pen.font = `600 12px ${getComputedStyle(this.box).fontFamily}`
    pen.textAlign = "center"
    pen.textBaseline = "middle"
    pen.lineJoin = "round"
    for (const [x, y, text] of this.data.titles) {
      const [px, py] = this.toScreen(x, y), wide = pen.measureText(text).width / 2 + 5
      if (px - wide < 2 || px + wide > this.w - this.right - 2 || py < 10 || py > this.h - 10) continue
      if (taken.some(([a, b, c]) => Math.abs(a - px) < c + wide && Math.abs(b - py) < 19)) continue
      taken.push([px, py, wide])
      pen.lineWidth = 4
      pen.strokeStyle = this.paper
      pen.strokeText(text, px, py)
      pen.fillStyle = this.ink
      pen.fillText(text, px, py)
    }
    this.over.dataset.titles = taken.length
  }

  legend_() {
    const { kind, legend, colour_by } = this.data
    this.legend.replaceChildren()
    if (kind === "none") return
    const add = (parent, tag, text, style) => {
      const made = parent.appendChild(document.createElement(tag))
      if (text !== undefined) made.textContent = text
      if (style) made.className = style
      return made
    }
    this.legend.setAttribute("aria-label", this.data.words.legend)
    add(this.legend, "strong", colour_by)
    const tint = i => `rgb(${this.palette.slice(4 * i, 4 * i + 3).join(",")})`
    if (kind === "number") {
      const bar = add(this.legend, "div", undefined, "bar")
      bar.style.background = `linear-gradient(to right, ${[0, 64, 127, 190, 254].map(tint).join(",")})`
      const ends = add(this.legend, "div", undefined, "ends")
      add(ends, "span", legend.low).style.padding = 0
      add(ends, "span", legend.high)
    }
    for (const [index, text, count] of legend.entries) {
      const button = add(this.legend, "button")
      button.type = "button"
      add(button, "i").style.background = tint(index)
      add(button, "bdi", text)
      add(button, "span", count)
      button.title = text
      button.setAttribute("aria-pressed", !this.hidden.has(index))
      button.onclick = () => {
        this.hidden[this.hidden.has(index) ? "delete" : "add"](index)
        this.paint()
        this.legend.querySelectorAll("button")[legend.entries.findIndex(e => e[0] === index)].focus()
      }
    }
  }

  words_() {
    const said = this.base.words
    this.over.setAttribute("aria-label", said.label)
    this.tools.setAttribute("aria-label", said.tools)
    this.hint.textContent = said.hint
    this.tools.replaceChildren()
    const does = {
      lasso: () => this.pan_(false), pan: () => this.pan_(true), closer: () => this.zoom_(1.5), farther: () => this.zoom_(1 / 1.5),
      whole: () => this.whole(), titles: () => { this.titled = !this.titled; this.pressed(); this.draw() }, image: () => this.save(),
    }
    for (const [name, act] of Object.entries(does)) {
      if (name === "titles" && !this.base.titles.length) continue
      const button = this.tools.appendChild(document.createElement("button"))
      button.type = "button"
      button.dataset.does = name
      button.title = said[name]
      button.setAttribute("aria-label", said[name])
      const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"), path = document.createElementNS("http://www.w3.org/2000/svg", "path")
      svg.setAttribute("viewBox", "0 0 20 20")
      svg.setAttribute("aria-hidden", "true")
      path.setAttribute("d", ICONS[name])
      svg.append(path)
      button.append(svg)
      button.onclick = act
    }
    this.pressed()
  }

  pressed() {
    const on = { lasso: !this.panning, pan: this.panning, titles: this.titled }
    for (const button of this.tools.children) if (button.dataset.does in on) button.setAttribute("aria-pressed", on[button.dataset.does])
    this.over.classList.toggle("pan", this.panning)
  }

  pan_(on) { this.panning = on; this.pressed() }
  middle() {
    const [x1, x2, y1, y2] = this.base.box
    Object.assign(this, { cx: (x1 + x2) / 2, cy: (y1 + y2) / 2, zoom: 1 })
  }
  whole() { this.middle(); this.draw() }
  zoom_(factor, x = this.w / 2, y = this.middleY) {
    const [mx, my] = this.toMap(x, y)
    this.zoom = Math.max(.7, Math.min(300, this.zoom * factor))
    this.cx = mx - (x - this.middleX) / this.scale
    this.cy = my + (y - this.middleY) / this.scale
    this.draw()
  }

  // The row of the visible point nearest to a place on the screen; -1 where there is none near.
  nearest(px, py) {
    const { n, xy, colour, marks, hide } = this.data, [mx, my] = this.toMap(px, py)
    const ax = mx * 65535, ay = my * 65535
    let best = -1, apart = (REACH / this.scale * 65535) ** 2
    for (let i = 0; i < n; i++) {
      const dx = xy[2 * i] - ax, dy = xy[2 * i + 1] - ay, d = dx * dx + dy * dy
      if (d < apart && !(hide && !(marks[i] & 1)) && !this.hidden.has(colour[i])) { apart = d; best = i }
    }
    return best
  }

  listen() {
    const over = this.over
    let pan = null, path = null, moved = false, resting = 0
    over.onpointerdown = e => {
      if (!this.data) return
      over.setPointerCapture(e.pointerId)
      this.tell(null)
      moved = false
      if (this.panning !== (e.shiftKey || e.button === 1)) pan = [e.offsetX, e.offsetY, this.cx, this.cy]
      else path = [[e.offsetX, e.offsetY]]
    }
    over.onpointermove = e => {
      clearTimeout(resting)
      const x = e.offsetX, y = e.offsetY
      if (pan) {
        moved ||= Math.hypot(x - pan[0], y - pan[1]) > 4
        this.cx = pan[2] - (x - pan[0]) / this.scale
        this.cy = pan[3] + (y - pan[1]) / this.scale
        this.draw()
      } else if (path) {
        const last = path[path.length - 1]
        if (Math.hypot(x - last[0], y - last[1]) < 3) return
        moved = true
        path.push([x, y])
        this.line = path.map(p => this.toMap(...p))
        this.over_()
      } else if (this.data) {
        this.tell(null)
        resting = setTimeout(() => this.ask(x, y), 160)
      }
    }
    over.onpointerup = e => {
      if (path && path.length > 4) this.drawn()
      else if (!moved && this.data) this.pick(e.offsetX, e.offsetY)
      pan = path = null
    }
    over.onpointercancel = () => { pan = path = null }
    over.onpointerleave = () => { clearTimeout(resting); this.tell(null) }
    over.addEventListener("wheel", e => {
      e.preventDefault()
      this.tell(null)
      this.zoom_(Math.exp(-e.deltaY * .0016), e.offsetX, e.offsetY)
    }, { passive: false })
    over.onkeydown = e => {
      const step = 40 / this.scale
      const keys = {
        "+": () => this.zoom_(1.5), "=": () => this.zoom_(1.5), "-": () => this.zoom_(1 / 1.5), 0: () => this.whole(),
        ArrowLeft: () => { this.cx -= step }, ArrowRight: () => { this.cx += step }, ArrowUp: () => { this.cy += step },
        ArrowDown: () => { this.cy -= step }, Escape: () => { this.line = null; this.say("lasso", { polygon: [], hidden: [] }) },
      }
      if (!(e.key in keys) || e.ctrlKey || e.metaKey) return
      e.preventDefault()
      keys[e.key]()
      this.draw()
    }
    addEventListener("winnow-map-words", e => {
      this.known.set(e.detail.row, e.detail.text)
      if (this.asked && this.asked.row === e.detail.row) this.tell(this.asked)
    })
    addEventListener("winnow-map-clear", () => { this.line = null; this.draw() })
  }

  drawn() {
    this.say("lasso", { polygon: this.line, hidden: [...this.hidden], colours: this.data.colours })
    if (this.data.words.inside) this.hint.textContent = this.data.words.inside.replace("#", this.inside().toLocaleString())
  }

  // How many visible points lie inside the line; where a server is asked, it counts.
  inside() {
    const { n, xy, colour, marks, hide } = this.data, line = this.line.map(([a, b]) => [a * 65535, b * 65535])
    let found = 0
    for (let i = 0; i < n; i++) {
      if ((hide && !(marks[i] & 1)) || this.hidden.has(colour[i])) continue
      let within = false
      const x = xy[2 * i], y = xy[2 * i + 1]
      for (let j = 0, k = line.length - 1; j < line.length; k = j++) {
        const [ax, ay] = line[j], [bx, by] = line[k]
        if ((ay > y) !== (by > y) && x < (bx - ax) * (y - ay) / (by - ay) + ax) within = !within
      }
      found += within
    }
    return found
  }

  pick(x, y) {
    const row = this.nearest(x, y)
    if (row >= 0) this.say("pick", row)
  }

  ask(x, y) {
    const row = this.nearest(x, y)
    if (row < 0) return
    this.asked = { row, x, y }
    if (this.data.texts) this.known.set(row, this.data.texts[row])
    if (this.known.has(row)) this.tell(this.asked)
    else this.say("hover", row)
  }

  tell(asked) {
    if (!asked) { this.asked = null; this.words.hidden = true; return }
    const { row, x, y } = asked
    this.words.textContent = this.known.get(row)
    this.words.hidden = false
    const { offsetWidth: w, offsetHeight: h } = this.words
    this.words.style.left = Math.max(4, Math.min(this.w - w - 4, x + 14)) + "px"
    this.words.style.top = (y + 16 + h < this.h ? y + 16 : Math.max(4, y - h - 12)) + "px"
  }

  save() {
    const canvas = document.createElement("canvas"), pen = canvas.getContext("2d"), ratio = devicePixelRatio || 1
    // A legend below the map comes to stand beside it: there it has room for all its entries.
    const beside = this.under ? 280 * ratio : 0
    canvas.width = this.points.width + beside
    canvas.height = this.points.height
    pen.fillStyle = this.paper
    pen.fillRect(0, 0, canvas.width, canvas.height)
    pen.drawImage(this.points, 0, 0)
    pen.drawImage(this.over, 0, 0)
    pen.scale(ratio, ratio)
    pen.translate(beside ? this.w : 0, 0)
    this.key_(pen)
    canvas.toBlob(blob => {
      const link = document.createElement("a")
      link.href = URL.createObjectURL(blob)
      link.download = this.data.file + ".png"
      link.click()
      setTimeout(() => URL.revokeObjectURL(link.href), 10000)
    })
  }

  // The legend, drawn into the image: it is no part of the canvases.
  key_(pen) {
    const { kind, legend, colour_by } = this.data, tint = i => `rgb(${this.palette.slice(4 * i, 4 * i + 3).join(",")})`
    if (kind === "none") return
    const family = getComputedStyle(this.box).fontFamily
    pen.textBaseline = "middle"
    pen.font = `600 12px ${family}`
    pen.fillStyle = this.ink
    pen.fillText(colour_by, 12, 18)
    pen.font = `12px ${family}`
    let y = 38
    if (kind === "number") {
      for (let i = 0; i < 180; i++) { pen.fillStyle = tint(Math.round(i / 179 * 254)); pen.fillRect(12 + i, y - 8, 1, 10) }
      pen.fillStyle = this.ink
      pen.fillText(`${legend.low} – ${legend.high}`, 12, y + 14)
      y += 36
    }
    for (const [index, text, count] of legend.entries) {
      pen.fillStyle = tint(index)
      pen.beginPath()
      pen.arc(17, y, 5, 0, 7)
      pen.fill()
      pen.fillStyle = this.ink
      const room = y + 18 < this.h - 8
      pen.fillText(room ? `${text}  ${count}` : "…", 28, y)
      if (!room) break
      y += 18
    }
  }
}

const shaded = (colour, round) => {
  const [towards, share] = SHADES[round % SHADES.length]
  return colour.map(c => Math.round(c + (towards - c) * share))
}
const rgbOf = text => (text.match(/[\d.]+/g) || [255, 255, 255]).slice(0, 3).map(Number)

export function mount(root, bytes, say) {
  const box = root.querySelector(".map")
  let drawing = MAPS.get(box)
  if (!drawing) MAPS.set(box, drawing = new Drawing(root, say))
  drawing.say = say
  drawing.take(bytes)
  return drawing
}

// What happens on the map goes to whoever listens: `map_ear.js`, which stands in the part of the page that it changes.
const tell = (kind, value) => dispatchEvent(new CustomEvent("winnow-map-says", { detail: { kind, value } }))

export default function (component) {
  const { data, parentElement } = component
  if (!data) return
  const drawing = mount(parentElement, data instanceof Uint8Array ? data : new Uint8Array(data), tell)
  const take = e => drawing.take(e.detail)
  // Colours and marks may have come before the map itself.
  for (const bytes of Object.values(window.winnowMapParts || {})) drawing.take(bytes)
  if (drawing.takes) removeEventListener("winnow-map-part", drawing.takes)
  addEventListener("winnow-map-part", drawing.takes = take)
}
