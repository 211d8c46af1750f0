// How pictures come to the page: picked, dropped (folders too), pasted.

const PICTURE = /\.(jpe?g|jpe|jfif|a?png|webp|gif|tiff?)$/i;

/** Call back with the files of each choice; of folders, with the pictures in them. */
export function listenForFiles(drop, onFiles) {
  for (const input of document.querySelectorAll("#files, #folder")) {
    input.addEventListener("change", () => {
      const picked = [...input.files];
      onFiles(input.webkitdirectory ? picked.filter((file) => isPicture(file, file.webkitRelativePath)) : picked);
      input.value = "";
    });
  }
  for (const type of ["dragenter", "dragover"]) {
    document.addEventListener(type, (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
  document.addEventListener("drop", async (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    drop.classList.remove("over");
    onFiles(await dropped(event.dataTransfer));
  });
  document.addEventListener("paste", (event) => {
    const pasted = [...(event.clipboardData?.files || [])];
    if (pasted.length) onFiles(pasted);
  });
}

/** What was dropped has to be asked for at once: after the event it is gone. */
async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
  const found = [];
  for (const entry of entries) {
    if (entry.isDirectory) await walk(entry, found);
    else found.push(await fileOf(entry));
  }
  return found;
}

async function walk(folder, found) {
  const reader = folder.createReader();
  for (;;) {
    const entries = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); }); // a hundred at most
    if (!entries.length) return;
    for (const entry of entries) {
      if (entry.isDirectory && !entry.name.startsWith(".")) await walk(entry, found);
      else if (entry.isFile && isPicture(entry, entry.name)) found.push(await fileOf(entry));
    }
  }
}

function fileOf(entry) {
  return new Promise((resolve, reject) => { entry.file(resolve, reject); });
}

function isPicture(file, path) {
  return PICTURE.test(file.name) && !path.split("/").some((part) => part.startsWith("."));
}
