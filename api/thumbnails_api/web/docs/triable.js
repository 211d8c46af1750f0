// Makes of the API's description one whose operations can be tried in Swagger UI, which reads files and forms in a narrower way.

/** Changes `description`, and gives it back. */
export function triable(description) {
  for (const operation of Object.values(description.paths).flatMap((item) => Object.values(item))) {
    for (const parameter of operation.parameters ?? []) mendParameter(parameter);
    const form = operation.requestBody?.content["multipart/form-data"]?.schema;
    if (form) mendForm(form);
  }
  return description;
}

function mendParameter(parameter) {
  const { schema } = parameter;
  if (!schema) return;
  delete schema.contentMediaType; // it is a text, and would be asked for as a file
  if (schema.default === undefined) return;
  // A default would be filled in and sent, and options of one thumbnail must not come beside `outputs`.
  parameter.description = `${parameter.description ?? ""} Default: \`${schema.default}\`.`.trim();
  delete schema.default;
}

/** Leaves the options to the parameters of the same names: a form's fields would be filled with samples, and sent. */
function mendForm(form) {
  form.properties = Object.fromEntries(form.required.map((name) => [name, form.properties[name]]));
  for (const { items } of Object.values(form.properties)) {
    if (items?.contentMediaType) items.format = "binary"; // as OpenAPI 3.0 had it
  }
}
