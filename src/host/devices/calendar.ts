/** A date and time of day in the proleptic Gregorian calendar, UTC. `weekday` is 0 for Sunday. */
export interface CivilTime {
  year: number;
  month: number;
  day: number;
  hour: number;
  minute: number;
  second: number;
  weekday: number;
}

const DAY_S = 86_400;
const ERA_DAYS = 146_097;
/** Days from 0000-03-01 to 1970-01-01. */
const EPOCH_DAYS = 719_468;

/** Days since 1970-01-01; months and days outside their ranges carry over. */
const daysOf = (year: number, month: number, day: number): number => {
  const months = year * 12 + month - 3;
  const y = Math.floor(months / 12);
  const monthFromMarch = months - y * 12;
  const era = Math.floor(y / 400);
  const yearOfEra = y - era * 400;
  const dayOfYear = Math.floor((153 * monthFromMarch + 2) / 5);
  return era * ERA_DAYS + yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear + day - 1 - EPOCH_DAYS;
};

/** Seconds since 1970-01-01T00:00:00Z; the weekday is not looked at, and fields outside their ranges carry over. */
export const secondsOf = (time: Omit<CivilTime, 'weekday'>): number =>
  daysOf(time.year, time.month, time.day) * DAY_S + time.hour * 3600 + time.minute * 60 + time.second;

/** The civil time of a whole number of seconds since 1970. */
export const civilOf = (seconds: number): CivilTime => {
  const days = Math.floor(seconds / DAY_S);
  const rest = seconds - days * DAY_S;
  const shifted = days + EPOCH_DAYS;
  const era = Math.floor(shifted / ERA_DAYS);
  const dayOfEra = shifted - era * ERA_DAYS;
  const yearOfEra = Math.floor((dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365);
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const monthFromMarch = Math.floor((5 * dayOfYear + 2) / 153);
  const month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9;
  return {
    year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0),
    month,
    day: dayOfYear - Math.floor((153 * monthFromMarch + 2) / 5) + 1,
    hour: Math.floor(rest / 3600),
    minute: Math.floor((rest % 3600) / 60),
    second: rest % 60,
    weekday: (((days + 4) % 7) + 7) % 7,
  };
};
