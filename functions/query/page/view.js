// Run before anything is drawn, so that nothing jumps: whether the address asks for results.

document.documentElement.dataset.view = /[?&](q|like|unlike|image)=[^&]/.test(location.search) ? "results" : "start";
