/** Time as an argument. The only file of the product that reads the clock or sets a timer. */
import { type Millis, millis } from './brand.ts'

export interface Clock {
  /** Monotonic: never goes back; its zero means nothing. */
  now(): Millis
  /** Wall time since the Unix epoch: for logs and incarnations only, as it may jump. */
  wallTime(): Millis
  /** Runs `fire` once, no sooner than `delay` from now; disposing cancels it. */
  after(delay: Millis, fire: () => void): Disposable
}

/** Its timers do not keep the process alive: only sockets do. */
export const systemClock: Clock = {
  now: () => millis(performance.now()),
  wallTime: () => millis(Date.now()),
  after(delay, fire) {
    const timer = setTimeout(fire, delay).unref()
    return { [Symbol.dispose]: () => clearTimeout(timer) }
  },
}

/**
 * Runs `fire` at `moment`, or at once when that is over. Never before it: waits are rounded up to whole milliseconds, so
 * that whoever compares the time then with the moment finds that it has come.
 */
export function atMoment(clock: Clock, moment: Millis, fire: () => void): Disposable {
  return clock.after(millis(Math.ceil(Math.max(0, moment - clock.now()))), fire)
}

/** Runs `fire` every `period`, first after one period, until disposed. */
export function every(clock: Clock, period: Millis, fire: () => void): Disposable {
  let timer = clock.after(period, tick)
  function tick(): void {
    timer = clock.after(period, tick)
    fire()
  }
  return { [Symbol.dispose]: () => timer[Symbol.dispose]() }
}

/** As `every`, never at quite the same interval, give or take a quarter: what all peers do must not fall together. */
export function everyAbout(clock: Clock, period: Millis, random: () => number, fire: () => void): Disposable {
  let timer: Disposable
  const again = (): void => {
    timer = clock.after(millis(period * (0.75 + random() / 2)), () => {
      again()
      fire()
    })
  }
  again()
  return { [Symbol.dispose]: () => timer[Symbol.dispose]() }
}

/** A signal that aborts with a TimeoutError after `delay`, or together with `signal`. */
export function deadline(delay: Millis, signal?: AbortSignal): AbortSignal {
  const timeout = AbortSignal.timeout(delay)
  return signal === undefined ? timeout : AbortSignal.any([signal, timeout])
}

/** Resolves after `delay`; rejects with the signal's reason when that aborts first. Keeps the process alive. */
export function sleep(delay: Millis, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason)
      return
    }
    const timer = setTimeout(done, delay)
    function done(): void {
      signal?.removeEventListener('abort', aborted)
      resolve()
    }
    function aborted(): void {
      clearTimeout(timer)
      reject(signal?.reason)
    }
    signal?.addEventListener('abort', aborted, { once: true })
  })
}

/** Lateness of a timer that tells of a process without processor, rather than of a busy moment. */
export const LATENESS: Millis = millis(300)

/**
 * As `clock.after`, for deadlines on what others do: when this process had no processor at the moment, what it waits for
 * may have come meanwhile and lie unread, so it gets a second chance to be read first.
 */
export function patiently(clock: Clock, delay: Millis, fire: () => void): Disposable {
  const dueAt = clock.now() + delay
  let timer = clock.after(delay, () => {
    if (clock.now() - dueAt > LATENESS) timer = clock.after(LATENESS, fire)
    else fire()
  })
  return { [Symbol.dispose]: () => timer[Symbol.dispose]() }
}
