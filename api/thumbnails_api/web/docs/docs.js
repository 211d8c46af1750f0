// Shows /openapi.json. Everything comes from this service: no validator, no fonts of others.

import { mend } from "./mend.js";
import { triable } from "./triable.js";

const page = document.getElementById("docs");
const dark = matchMedia("(prefers-color-scheme: dark)");
// The first one: an answer to GET /openapi.json that is tried in the page is shown as it came.
let isLoaded = false;
const isDescription = (answer) => !isLoaded && answer.ok && (isLoaded = new URL(answer.url, location).pathname === "/openapi.json");
const followScheme = () => document.documentElement.classList.toggle("dark-mode", dark.matches);

dark.addEventListener("change", followScheme);
followScheme();
new MutationObserver(() => mend(page)).observe(page, { childList: true, subtree: true });

window.SwaggerUIBundle({
  url: "/openapi.json",
  domNode: page,
  deepLinking: true,
  validatorUrl: null,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  responseInterceptor: (answer) => {
    if (isDescription(answer)) answer.text = JSON.stringify(triable(JSON.parse(answer.text)));
    return answer;
  },
});
