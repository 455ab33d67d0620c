// Draws passages of text; everything that came from the data goes in as text.

const ELEMENTS = { added: 'ins', removed: 'del' }

export default function ({ data, parentElement }) {
  const box = parentElement.querySelector('section')
  box.className = data.legend ? 'legend' : 'text'
  box.replaceChildren(...data.passages.map(([text, marks, told]) => drawn(text, marks, told, data.said)))
}

function drawn(text, marks, told, said) {
  if (!marks.length) return document.createTextNode(text)
  const element = document.createElement(ELEMENTS[marks[0]] || 'mark')
  element.classList.add(...marks)
  element.textContent = text
  const names = [told, ...marks.map(mark => said[mark])].filter(Boolean).join(', ')
  if (names) { element.title = names; element.setAttribute('aria-label', `${names}: ${text}`.slice(0, 400)) }
  return element
}
