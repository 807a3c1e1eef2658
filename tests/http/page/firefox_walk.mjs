// A walk over the page in Firefox, by WebDriver BiDi, since Playwright drives a build of its own alone; tells its sights as JSON.

import puppeteer from "puppeteer-core";

const [executablePath, address, given] = process.argv.slice(2);
const { users, picture, folder } = JSON.parse(given);
const SOON = { timeout: 60_000 };
const [WIDE, NARROW] = [{ width: 1280, height: 860 }, { width: 390, height: 844 }];
const seen = { complaints: [] };

const ranked = (page) => until(page, () => /most similar first|best first, by image, name and metadata/.test(document.querySelector("#status").textContent) && document.querySelector(".tile.loaded"));
const until = (page, test, ...given) => page.waitForFunction(test, SOON, ...given);
const names = (page) => page.$$eval(".tile .name", (tiles) => tiles.map(({ title }) => title));
const shoot = (page, name) => page.screenshot({ path: `${folder}/${name}.png` });

const browser = await puppeteer.launch({ browser: "firefox", executablePath, headless: true });
try {
  await nobody(await visitor());
  seen.users = {};
  for (const user of users) seen.users[user.email] = await signedIn(await visitor(), user);
} finally {
  await browser.close();
}
console.log(JSON.stringify(seen));

/** A page in a profile of its own, whose complaints are kept. */
async function visitor() {
  const page = await (await browser.createBrowserContext()).newPage();
  const complain = (text) => seen.complaints.push(text);
  page.on("pageerror", (error) => complain(String(error)));
  page.on("console", (message) => ["error", "warn"].includes(message.type()) && complain(message.text()));
  await page.exposeFunction("complain", complain);
  await page.evaluateOnNewDocument(() => addEventListener("securitypolicyviolation", (event) => complain(`${event.violatedDirective} ${event.blockedURI}`)));
  await page.setViewport(WIDE);
  await page.goto(address);
  await page.waitForSelector(".tile.loaded", SOON);
  return page;
}

async function nobody(page) {
  await shoot(page, "start");
  await search(page, "a cow");
  seen.words = await names(page);
  await shoot(page, "words");
  await viewer(page);
  await part(page);
  await image(page);
  await filters(page);
  await upload(page);
  await page.setViewport(NARROW);
  await page.goto(`${address}?q=a+cow`);
  await ranked(page);
  seen.sideways = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  await shoot(page, "narrow");
}

async function viewer(page) {
  await page.click(".tile ~ .tile .open");
  await until(page, () => document.querySelector("#viewer-facts").textContent.includes("added"));
  await until(page, () => document.querySelector("#viewer-image").naturalWidth > 100);
  await shoot(page, "viewer");
  await page.click("#viewer-link");
  await until(page, () => document.querySelector("#viewer-outcome").textContent);
  const told = await page.evaluate(() => [document.querySelector("#viewer-name").textContent, document.querySelector("#viewer-outcome").textContent]);
  await page.goBack({ waitUntil: [] });
  await until(page, () => !document.querySelector("#viewer").open);
  const kept = await page.evaluate(() => [location.search, document.activeElement.closest(".tile")?.dataset.key]);
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("Enter");
  await until(page, () => document.querySelector("#viewer").open);
  await page.keyboard.press("Escape");
  await until(page, () => !document.querySelector("#viewer").open);
  seen.viewer = { told, kept, after: await page.evaluate(() => location.search) };
}

async function part(page) {
  await page.click(".tile .open");
  await until(page, () => document.querySelector("#viewer-image").naturalWidth > 100);
  await page.click("#viewer-part");
  const { x, y, width, height } = await (await page.$("#viewer-image")).boundingBox();
  await page.mouse.move(x + width / 2, y + height / 2);
  await page.mouse.down();
  await page.mouse.move(x + width / 2 + 60, y + height / 2 + 30, { steps: 3 });
  await page.mouse.up();
  const { width: w, height: h } = await (await page.$("#crop-box")).boundingBox();
  await shoot(page, "part");
  await page.click("#crop-search");
  await page.waitForSelector("#chips .chip img", SOON);
  await ranked(page);
  seen.part = { drawn: [Math.round(w), Math.round(h)], chip: await page.$eval("#chips .name", (name) => name.textContent) };
}

async function image(page) {
  await (await page.$("#pick-file")).uploadFile(picture);
  await until(page, (name) => document.querySelector("#chips .name")?.textContent === name, picture.split("/").pop());
  await ranked(page);
  seen.image = await names(page);
  await page.reload();
  await ranked(page);
  seen.imageAfterReload = await names(page);
  await shoot(page, "image");
}

async function filters(page) {
  await page.click("#open-filters");
  await page.type("#filters [name=bucket]", "images");
  await page.type("#filters [name=folder]", "fish");
  await page.keyboard.press("Enter");
  await until(page, () => location.search.includes("folder=fish"));
  await ranked(page);
  seen.filtered = { names: await names(page), address: await page.evaluate(() => location.search) };
  await shoot(page, "filters");
}

async function upload(page) {
  await page.click("#open-uploads");
  await page.click("#uploads summary");
  await page.type("#folder", "firefox");
  await (await page.$("#choose-files")).uploadFile(picture);
  await page.waitForSelector(".file:is([data-state=searchable], [data-state=failed], [data-state=taken])", SOON);
  seen.upload = await page.$eval(".file", (file) => [file.querySelector(".name").textContent, file.dataset.state]);
  await shoot(page, "upload");
}

async function signedIn(page, { email, password }) {
  await page.click("#open-sign-in");
  await page.type("#email", email);
  await page.type("#password-form [name=password]", password);
  await shoot(page, "sign-in");
  await page.keyboard.press("Enter");
  await until(page, (name) => document.querySelector("#who").textContent === name, email);
  await page.click("#open-filters");
  await page.type("#filters [name=bucket]", "albums");
  await page.keyboard.press("Enter");
  await until(page, () => location.search.includes("bucket=albums"));
  await until(page, () => /shown/.test(document.querySelector("#status").textContent)); // emptied by each new search
  await shoot(page, `albums-${email}`);
  const own = await names(page);
  await page.click("#sign-out");
  await until(page, () => !document.querySelector("#message").hidden);
  return { own, left: (await names(page)).length };
}

async function search(page, text) {
  await page.type("#text", text);
  await page.keyboard.press("Enter");
  await ranked(page);
}
