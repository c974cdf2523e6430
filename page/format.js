// Formats numbers, times and states.

const NUMBER = new Intl.NumberFormat("en");

export const formatCount = (number, singular, plural = `${singular}s`) => `${NUMBER.format(number)} ${number === 1 ? singular : plural}`;
export const formatInteger = (number) => NUMBER.format(Math.round(number));

export function formatNumber(number, digits = 3) {
  if (number === null || number === undefined || !Number.isFinite(number)) return "–";
  const magnitude = Math.abs(number);
  if (magnitude >= 1000) return formatInteger(number);
  return magnitude > 0 && magnitude < 0.001 ? number.toExponential(1) : String(Number(number.toPrecision(digits)));
}

export const formatPercent = (fraction) => `${Math.round(100 * fraction)} %`;

export function formatDuration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60 ? `${s % 60} s` : ""}`.trim();
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

export function formatBytes(bytes) {
  const units = ["bytes", "kB", "MB", "GB"];
  let unit = 0;
  for (; bytes >= 1000 && unit < 3; unit++) bytes /= 1000;
  return `${unit ? bytes.toFixed(bytes < 10 ? 1 : 0) : bytes} ${units[unit]}`;
}

export function formatTime(time) {
  const date = new Date(time);
  const isToday = date.toDateString() === new Date().toDateString();
  return date.toLocaleString("en-GB", isToday
    ? { hour: "2-digit", minute: "2-digit" }
    : { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
}

export const KIND_NAMES = { train: "Training", degrade: "Degradation", sr: "Super-resolution" };
export const isFinal = (job) => job.status !== "queued" && job.status !== "running";

/** A job's progress in one line. */
export function formatProgress(job) {
  const { done, total, unit, per_second: rate, eta_seconds: left } = job.progress;
  const parts = [total ? `${formatInteger(done)} of ${formatInteger(total)} ${unit}` : `${formatInteger(done)} ${unit}`];
  if (job.status === "running" && rate) parts.push(`${formatNumber(rate, 2)} per second`);
  if (job.status === "running" && left !== null) parts.push(`${formatDuration(left)} left`);
  if (job.counts.failed) parts.push(`${formatInteger(job.counts.failed)} failed`);
  return parts.join(" · ");
}
