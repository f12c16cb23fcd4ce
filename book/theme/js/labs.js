// What mdBook's pages lack for those who use a keyboard.
'use strict';

(function sidebarToggle() {
  const toggle = document.getElementById('mdbook-sidebar-toggle');
  toggle.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' || event.key === ' ') {
      event.preventDefault();
      toggle.click();
    }
  });
})();

// What scrolls must be reachable, but a stop at every listing is a nuisance.
(function scrollingBoxes() {
  const observer = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      if (target.scrollWidth > target.clientWidth) {
        target.tabIndex = 0;
      } else {
        target.removeAttribute('tabindex');
      }
    }
  });
  for (const box of document.querySelectorAll('pre > code, .table-wrapper')) {
    observer.observe(box);
  }
})();
