// Keys that are typed in stay in this tab's memory; nothing is asked of other hosts.
SwaggerUIBundle({
  url: new URL('../openapi.json', location).href,
  dom_id: '#reference',
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  persistAuthorization: false,
  validatorUrl: null,
})
