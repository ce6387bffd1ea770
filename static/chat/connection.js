const WORDS = {
  connecting: "Connecting…",
  open: "Live",
  waiting: "Connection lost, trying again…",
  closed: "Not connected",
};

/** The state of the connection at the foot of the sidebar, and what to do when the page is too old. */
export function showConnection(client) {
  const place = document.getElementById("connection");
  const show = () => {
    place.dataset.state = client.state;
    place.querySelector("span").textContent = WORDS[client.state];
  };
  client.on("state", show);
  client.on("upgrade", () => {
    const dialog = document.getElementById("upgrade");
    dialog.addEventListener("close", () => location.reload());
    dialog.showModal();
  });
  show();
}
