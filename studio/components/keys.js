// Listens on the whole page, so that it makes no difference what a rerun did to the focus.

const WRITING = 'input, textarea, select, [contenteditable=""], [contenteditable=true], [role=textbox], [role=combobox]'
const OPEN = '[role=dialog], [data-testid=stPopoverBody], [role=listbox]'

const seen = new WeakMap()

// Only the box around it is scrolled: the page stays where it is.
function bring(element) {
  let box = element?.parentElement
  while (box && !/auto|scroll/.test(getComputedStyle(box).overflowY)) box = box.parentElement
  if (!box || box.clientHeight > innerHeight) return
  const top = element.getBoundingClientRect().top - box.getBoundingClientRect().top
  if (top < 0 || top > box.clientHeight - 120) box.scrollTop += top - 8
}

export default function ({ data, parentElement }) {
  if (data.into_view && seen.get(parentElement) !== data.into_view) {
    seen.set(parentElement, data.into_view)
    bring(document.querySelector(`.${CSS.escape(data.into_view)}`))
  }
  const struck = event => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || event.isComposing) return
    const target = event.composedPath()[0]
    if (target instanceof Element && target.closest(WRITING)) return
    const name = data.keys[event.key] || data.keys[event.key.toLowerCase()]
    if (!name || document.querySelector(OPEN)) return
    const button = document.querySelector(`.${CSS.escape(name)} button:not(:disabled)`)
    if (!button) return
    event.preventDefault()
    button.click()
  }
  document.addEventListener('keydown', struck)
  return () => document.removeEventListener('keydown', struck)
}
