// Shows the document by Swagger UI, in the colours that the system has, and mends what keeps some people out of it.
const dark = matchMedia('(prefers-color-scheme: dark)');
const followScheme = () => document.documentElement.classList.toggle('dark-mode', dark.matches);
dark.addEventListener('change', followScheme);
followScheme();

const accessible = ({ React }) => ({
  wrapComponents: {
    // A link may not stand in a button. The button writes the same address.
    OperationSummaryPath: (Original) => ({ operationProps, ...props }) =>
      React.createElement(Original, { ...props, operationProps: operationProps.set('isDeepLinkingEnabled', false) }),
    // The title is an h1 and the tags are h3.
    operations: (Original) => (props) => [
      React.createElement('h2', { key: 'heading', className: 'visually-hidden' }, 'Operations'),
      React.createElement(Original, { key: 'operations', ...props }),
    ],
  },
});

SwaggerUIBundle({
  url: '/openapi.json',
  dom_id: '#swagger-ui',
  layout: 'BaseLayout',
  deepLinking: true,
  syntaxHighlight: { theme: 'tomorrow-night' },
  // It would be a page elsewhere that is told the document's address.
  validatorUrl: 'none',
  presets: [SwaggerUIBundle.presets.apis],
  plugins: [SwaggerUIBundle.plugins.DownloadUrl, accessible],
});

// Names for what has none, and a way in for keys where a long answer scrolls.
const nameAll = () => {
  const each = (selector, apply) => document.querySelectorAll(selector).forEach(apply);
  each('.close-modal', (button) => { button.ariaLabel = 'Close'; });
  each('.copy-to-clipboard > button', (button) => { button.ariaLabel = 'Copy'; });
  each('tr[data-param-name] select', (select) => { select.ariaLabel = select.closest('tr').dataset.paramName; });
  each('pre.microlight', (code) => { code.tabIndex = 0; });
};
new MutationObserver(nameAll).observe(document.getElementById('swagger-ui'), { childList: true, subtree: true });

// Every one of its fields takes the focus, so that the last has it and the first is scrolled out of sight.
document.addEventListener('click', ({ target }) => {
  if (target.closest('.auth-wrapper')) {
    requestAnimationFrame(() => document.querySelector('.modal-ux input')?.focus());
  }
});
document.addEventListener('keydown', ({ key }) => {
  if (key === 'Escape') {
    document.querySelector('.close-modal')?.click();
  }
});
