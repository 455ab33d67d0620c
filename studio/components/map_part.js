// Hands colours or marks to the map that is drawn elsewhere on the page, and keeps them for one that is drawn later.
export default function ({ data }) {
  if (!data) return
  const bytes = data instanceof Uint8Array ? data : new Uint8Array(data)
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true)
  const { parts } = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)))
  ;(window.winnowMapParts ||= {})[parts.join()] = bytes
  dispatchEvent(new CustomEvent("winnow-map-part", { detail: bytes }))
}
