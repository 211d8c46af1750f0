// Gives what Swagger UI draws the names and levels that it leaves out, for people with a keyboard or a screen reader.

const PLACES = [[".information-container", "About this API"], [".scheme-container", "Server and keys"]];
const LEVELS = [[".info .title", 1], ["h3.opblock-tag, .models > h4, .webhooks > h2", 2], [".opblock-section-header h4", 3]];

/** May be called as often as something changed; only attributes are set, which Swagger UI does not look at. */
export function mend(page) {
  for (const field of page.querySelectorAll("select, input, textarea")) {
    const labelled = field.ariaLabel || [...(field.labels || [])].some((label) => label.textContent.trim() && label.control === field && !label.contains(field));
    if (!labelled) field.ariaLabel = nameFor(field);
  }
  for (const scrollable of page.querySelectorAll("pre.microlight, .highlight-code > pre, .model-box, .servers")) scrollable.tabIndex = 0;
  for (const [selector, level] of LEVELS) {
    for (const heading of page.querySelectorAll(selector)) {
      heading.role = "heading";
      heading.ariaLevel = String(level);
    }
  }
  page.querySelectorAll("table[role=region]").forEach((region, index) => { region.ariaLabel = `Responses ${index + 1}`; });
  for (const [selector, name] of PLACES) {
    for (const place of page.querySelectorAll(selector)) {
      place.role = "region";
      place.ariaLabel = name;
    }
  }
}

function nameFor(field) {
  const row = field.closest("tr");
  const name = row?.dataset.paramName || row?.querySelector(".parameter__name")?.textContent;
  if (name) return name.replace(/\s*\*.*/, "").trim();
  return field.id === "servers" ? "Server" : field.placeholder || field.title || "Value";
}
