const FIRST = ["Quiet", "Silver", "Early", "Lucky", "Amber", "Gentle", "Northern", "Bright", "Merry", "Velvet"];
const LAST = ["Fox", "Owl", "Otter", "Heron", "Lynx", "Moth", "Finch", "Hare", "Badger", "Swift"];
const KEY = "lightmoon-demo-name";

const input = document.getElementById("name");
const any = (words) => words[Math.floor(Math.random() * words.length)];

/** The name of this window's user: made up at first, then kept for as long as the window is open. */
export function myName() {
  const name = sessionStorage.getItem(KEY) ?? `${any(FIRST)} ${any(LAST)}`;
  sessionStorage.setItem(KEY, name);
  input.value = name;
  return name;
}

/** Call `changed` with each new name. */
export function rename(changed) {
  const take = () => {
    const name = input.value.trim();
    if (!name || name === sessionStorage.getItem(KEY)) return myName();
    sessionStorage.setItem(KEY, name);
    changed(name);
  };
  input.addEventListener("change", take);
  document.getElementById("me").addEventListener("submit", (event) => {
    event.preventDefault();
    input.blur();
  });
}
