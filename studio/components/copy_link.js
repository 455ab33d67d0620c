// Puts the address of the page, as it is at this moment, into the clipboard.

export default function ({ data, parentElement }) {
  const button = parentElement.querySelector('button')
  button.textContent = data.label
  button.onclick = async () => {
    const done = await copied(location.href, parentElement)
    button.textContent = done ? data.copied : location.href
    if (done) setTimeout(() => { button.textContent = data.label }, 2000)
  }
}

// Over plain HTTP from another machine browsers have no clipboard: there a selected text is copied as by hand.
async function copied(text, parent) {
  try { await navigator.clipboard.writeText(text); return true } catch { /* below */ }
  const box = document.createElement('textarea')
  box.value = text
  box.style.position = 'fixed'
  document.body.append(box)
  box.select()
  const done = document.execCommand('copy')
  box.remove()
  return done
}
