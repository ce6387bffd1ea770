const SHOWN = 4; // seconds
const place = document.getElementById("trouble");
let timer;

/** Tell the user what went wrong, in the server's words. */
export function complain(error) {
  place.textContent = error.message;
  place.hidden = false;
  clearTimeout(timer);
  timer = setTimeout(() => (place.hidden = true), SHOWN * 1000);
}
