// Numbers and states in words.

const NUMBER = new Intl.NumberFormat("en");

export const count = (number, one, many = `${one}s`) => `${NUMBER.format(number)} ${number === 1 ? one : many}`;
export const whole = (number) => NUMBER.format(Math.round(number));

export function figure(number, digits = 3) {
  if (number === null || number === undefined || !Number.isFinite(number)) return "–";
  const size = Math.abs(number);
  return size >= 1000 ? whole(number) : size > 0 && size < 0.001 ? number.toExponential(1) : String(Number(number.toPrecision(digits)));
}

export const percent = (share) => `${Math.round(100 * share)} %`;

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60 ? `${s % 60} s` : ""}`.trim();
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

export function size(bytes) {
  const units = ["bytes", "kB", "MB", "GB"];
  let unit = 0;
  for (; bytes >= 1000 && unit < 3; unit++) bytes /= 1000;
  return `${unit ? bytes.toFixed(bytes < 10 ? 1 : 0) : bytes} ${units[unit]}`;
}

export function when(time) {
  const date = new Date(time);
  const today = date.toDateString() === new Date().toDateString();
  return date.toLocaleString("en-GB", today
    ? { hour: "2-digit", minute: "2-digit" }
    : { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
}

export const KINDS = { train: "Training", degrade: "Degrading", sr: "Super-resolution" };
export const isFinal = (job) => job.status !== "queued" && job.status !== "running";

/** How far a job is, in one line. */
export function progressOf(job) {
  const { done, total, unit, per_second: rate, eta_seconds: left } = job.progress;
  const parts = [total ? `${whole(done)} of ${whole(total)} ${unit}` : `${whole(done)} ${unit}`];
  if (job.status === "running" && rate) parts.push(`${figure(rate, 2)} a second`);
  if (job.status === "running" && left !== null) parts.push(`${duration(left)} left`);
  if (job.counts.failed) parts.push(`${whole(job.counts.failed)} failed`);
  return parts.join(" · ");
}
