// Sends files, one after the other, to the studio's route for them, and tells the page which have arrived.

const states = new WeakMap()

export default function ({ data, parentElement, setStateValue }) {
  const state = states.get(parentElement) ?? { queue: [], arrived: [], busy: false }
  states.set(parentElement, state)
  Object.assign(state, { data, setStateValue, list: parentElement.querySelector('#list') })
  const zone = parentElement.querySelector('#zone')
  const input = parentElement.querySelector('#files')
  const choose = parentElement.querySelector('#choose')
  parentElement.querySelector('#words').textContent = data.words.drop
  parentElement.querySelector('#limit').textContent = data.allowed ? data.words.limit : data.words.viewer
  choose.textContent = data.words.choose
  choose.disabled = !data.allowed
  input.accept = data.accept
  input.setAttribute('aria-label', data.words.choose)
  choose.onclick = () => input.click()
  input.onchange = () => { take(state, [...input.files]); input.value = '' }
  zone.ondragover = event => { event.preventDefault(); zone.classList.add('over') }
  zone.ondragleave = () => zone.classList.remove('over')
  zone.ondrop = event => {
    event.preventDefault()
    zone.classList.remove('over')
    if (data.allowed) take(state, [...event.dataTransfer.files])
  }
}

function take(state, files) {
  for (const file of files) {
    const row = drawn(state, file)
    if (file.size > state.data.most) ended(row, state.data.words.size, true)
    else if (!known(state.data.accept, file.name)) ended(row, state.data.words.kind, true)
    else state.queue.push({ file, row })
  }
  next(state)
}

function known(accept, name) {
  return accept.split(',').some(suffix => name.toLowerCase().endsWith(suffix))
}

function drawn(state, file) {
  const row = document.createElement('li')
  const [name, told, button, bar] = ['span', 'span', 'button', 'progress'].map(kind => document.createElement(kind))
  name.className = 'name'
  name.textContent = file.name
  told.className = 'state'
  button.type = 'button'
  button.textContent = state.data.words.cancel
  bar.max = 1
  bar.value = 0
  bar.setAttribute('aria-label', `${state.data.words.progress}: ${file.name}`)
  row.append(name, told, button, bar)
  button.onclick = () => {
    state.queue = state.queue.filter(waiting => waiting.row !== row)
    if (row.request) row.request.abort()
    else ended(row, state.data.words.cancelled, true)
  }
  state.list.append(row)
  return row
}

function ended(row, words, bad) {
  row.classList.toggle('bad', bad)
  row.querySelector('.state').textContent = words
  row.querySelector('button')?.remove()
  row.querySelector('progress')?.remove()
  row.request = null
}

function next(state) {
  if (state.busy || !state.queue.length) return
  const { file, row } = state.queue.shift()
  const { address, ticket } = state.data
  const request = row.request = new XMLHttpRequest()
  state.busy = true
  request.open('PUT', `${address}?${new URLSearchParams({ ticket, name: file.name })}`)
  request.upload.onprogress = event => {
    row.querySelector('progress').value = event.loaded / event.total
    row.querySelector('.state').textContent = `${Math.floor(100 * event.loaded / event.total)} %`
  }
  request.onload = () => {
    const answer = parsed(request.responseText)
    if (request.status === 200) arrived(state, row, answer)
    else over(state, row, state.data.words[answer.refused] ?? state.data.words.failed)
  }
  request.onerror = () => over(state, row, state.data.words.failed)
  request.onabort = () => over(state, row, state.data.words.cancelled)
  request.send(file)
}

function arrived(state, row, answer) {
  row.querySelector('.name').textContent = answer.name
  ended(row, state.data.words.done, false)
  const remove = document.createElement('button')
  remove.type = 'button'
  remove.textContent = state.data.words.remove
  remove.onclick = () => {
    state.arrived = state.arrived.filter(name => name !== answer.name)
    row.remove()
    state.setStateValue('arrived', state.arrived)
  }
  row.append(remove)
  state.busy = false
  if (!state.arrived.includes(answer.name)) state.arrived = [...state.arrived, answer.name]
  state.setStateValue('arrived', state.arrived)
  next(state)
}

function over(state, row, words) {
  ended(row, words, true)
  state.busy = false
  next(state)
}

function parsed(text) {
  try { return JSON.parse(text) } catch { return {} }
}
