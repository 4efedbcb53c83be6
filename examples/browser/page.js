// The page's address may hold `server`, Envoy's address (by default the page's own), `text`, and
// `lines`. With a text it classifies at once.

const query = new URLSearchParams(location.search);
const server = query.get("server") ?? location.origin;
const form = document.getElementById("form");
const answers = document.getElementById("answers");
const error = document.getElementById("error");

// Makes a call. An error has its message and, if Classwire's server made it, its reason. Another
// server than Envoy may answer without JSON.
async function call(method, request) {
  const response = await fetch(`${server}/classwire.v1.ClassifyService/${method}`, {
    method: "POST",
    headers: { "content-type": "application/json", "grpc-timeout": "20S" },
    body: JSON.stringify(request),
  });
  const answer = await response.json().catch(() => ({ message: `HTTP status ${response.status}` }));
  if (response.ok) return answer;
  const details = answer.details ?? [];
  const reason = details.find((detail) => detail.reason)?.reason;
  throw Object.assign(new Error(answer.message), { reason });
}

// A text that the model cannot take at once is read in windows, which have scores but no tokens.
async function classify(text) {
  const input = { text };
  try {
    return await call("Classify", { input, options: { include_tokens: true } });
  } catch (failure) {
    if (failure.reason !== "TOO_MANY_TOKENS") throw failure;
    return await call("Classify", {
      input,
      options: { truncation: "TRUNCATION_WINDOWS", include_windows: true },
    });
  }
}

async function classifyLines(text) {
  const texts = text.split("\n").filter((line) => line.trim());
  const { outcomes } = await call("BatchClassify", { inputs: texts.map((text) => ({ text })) });
  return outcomes.map((outcome, index) => ({ text: texts[index], ...outcome }));
}

function element(name, className, ...children) {
  const made = document.createElement(name);
  made.className = className;
  made.append(...children);
  return made;
}

function bar(label, score) {
  const filled = element("div", "");
  filled.style.width = `${100 * score}%`;
  const percent = `${(100 * score).toFixed(1)} %`;
  return element("div", "bar", element("span", "", label), element("div", "", filled),
    element("span", "", percent));
}

const bars = (scores) => scores.map(({ label, score }) => bar(label, score));

// The scores of a window are in the order of the labels' ids.
function windowOf(text, labels, window, number) {
  const part = [...text].slice(window.start, window.end).join(""); // offsets count code points
  const top = window.scores.indexOf(Math.max(...window.scores));
  return element("section", "window",
    element("p", "note", `Window ${number + 1}: ${window.token_count} tokens`),
    bar(labels[top], window.scores[top]),
    element("p", "note", `${part.slice(0, 80)} …`));
}

function showOne(text, { result, timing }) {
  const labels = [];
  for (const score of result.scores) labels[score.label_id] = score.label;
  const read = result.window_count > 1 ? ` in ${result.window_count} windows` : "";
  answers.append(
    element("section", "answer", ...bars(result.scores),
      element("p", "note", `${result.token_count} tokens${read}, ${timing.total_us / 1000} ms`),
      element("p", "", ...result.tokens.map((token) => element("span", "token", token.text)))),
    ...result.windows.map((window, number) => windowOf(text, labels, window, number)));
}

function showLine({ text, classification, error }) {
  const shown = classification
    ? bars(classification.scores.slice(0, 1))
    : [element("p", "note", `${error.reason}: ${error.message}`)];
  answers.append(element("section", "answer", element("p", "", text), ...shown));
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  answers.replaceChildren();
  error.textContent = "";
  try {
    const text = form.text.value;
    if (form.lines.checked) (await classifyLines(text)).forEach(showLine);
    else showOne(text, await classify(text));
  } catch (failure) {
    error.textContent = failure.reason ? `${failure.reason}: ${failure.message}` : failure.message;
  }
});

form.text.value = query.get("text") ?? "";
form.lines.checked = query.has("lines");
if (form.text.value) form.requestSubmit();
