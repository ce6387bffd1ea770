import { complain } from "./trouble.js";

/** The counter that all windows share. */
export function showCounter(counter) {
  const place = document.getElementById("count");
  const show = () => {
    const text = counter.state?.count.toLocaleString() ?? "–";
    if (text === place.textContent) return;
    place.textContent = text;
    place.animate([{ transform: "scale(1.12)" }, { transform: "none" }], { duration: 180, easing: "ease-out" });
  };
  counter.subscribe(show);
  for (const button of document.querySelectorAll("[data-add]")) {
    button.addEventListener("click", () => counter.add(Number(button.dataset.add)).catch(complain));
  }
}
