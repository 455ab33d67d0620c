// Asks the server for the words of the sample under the pointer, so that the map itself need not be drawn anew.
const HEARD = new WeakMap()
export default function (component) {
  const { data, parentElement, setTriggerValue } = component
  let own = HEARD.get(parentElement)
  if (!own) {
    HEARD.set(parentElement, own = {})
    addEventListener("winnow-map-hover", e => own.ask(e.detail))
  }
  own.ask = row => setTriggerValue("row", row)
  if (data && data.row !== null) dispatchEvent(new CustomEvent("winnow-map-words", { detail: data }))
  if (data && data.cleared !== own.cleared) {
    if (own.cleared !== undefined) dispatchEvent(new CustomEvent("winnow-map-clear"))
    own.cleared = data.cleared
  }
}
