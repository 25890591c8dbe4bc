//! The functions of the C library that are replaced, with its names and types (on the 64-bit
//! architectures of `system_call`, `long` and `time_t` have 64 bits).
//!
//! The callers are C programs. Their pointers must be valid as the manual page of each function requires; a null
//! pointer is accepted if the page allows one.
#![expect(unsafe_code, reason = "functions for programs in C, which hand over pointers")]
#![cfg_attr(not(preload), expect(dead_code, reason = "only the shared library has callers: other programs"))]

use crate::clock::{self, NANOSECONDS_PER_SECOND, Now};
use crate::random;
use crate::system_call::{CLOCK_GETTIME, CLOCK_NANOSLEEP, call};
use core::ffi::{c_int, c_uint, c_void};
use core::ptr;

/// `struct timespec`.
#[repr(C)]
#[derive(Clone, Copy)]
struct TimeSpec {
    seconds: i64,
    nanoseconds: i64,
}

/// `struct timeval`.
#[repr(C)]
struct TimeVal {
    seconds: i64,
    microseconds: i64,
}

/// `struct timeb` of `ftime(3)`.
#[repr(C)]
struct TimeB {
    seconds: i64,
    milliseconds: u16,
    zone: i16,
    summer: i16,
}

const CLOCK_REALTIME: c_int = 0;
const CLOCK_MONOTONIC: c_int = 1;
/// The clocks that tell the date: `REALTIME`, `REALTIME_COARSE`, `REALTIME_ALARM` and `TAI`.
const DATES: [c_int; 4] = [CLOCK_REALTIME, 5, 8, 11];
const TIMER_ABSTIME: c_int = 1;
const TIME_UTC: c_int = 1;
const EINTR: c_int = 4;
const EIO: c_int = 5;
const EINVAL: c_int = 22;
/// The most bytes that getentropy(3) returns.
const MOST_ENTROPY: usize = 256;

unsafe extern "C" {
    /// In every C library: the address of the calling thread's error number.
    safe fn __errno_location() -> *mut c_int;
}

fn fail(error: c_int) -> c_int {
    // SAFETY: the C library gives the address of a number that lives as long as the thread that asks.
    unsafe { *__errno_location() = error };
    -1
}

/// A length or time for C. Larger values do not occur: the year 292277026596 is out of reach.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn time_spec(now: Now) -> TimeSpec {
    TimeSpec { seconds: signed(now.seconds), nanoseconds: signed(now.nanoseconds) }
}

/// # Safety
///
/// `place` is null, or may be written.
unsafe fn put<T>(place: *mut T, value: T) {
    if !place.is_null() {
        // SAFETY: the caller guarantees it.
        unsafe { ptr::write(place, value) };
    }
}

/// `clock_gettime(2)`.
#[cfg_attr(preload, unsafe(no_mangle))]
unsafe extern "C" fn clock_gettime(clock: c_int, place: *mut TimeSpec) -> c_int {
    if DATES.contains(&clock) {
        // SAFETY: the program gives a place for the time.
        unsafe { put(place, time_spec(clock::now())) };
        return 0;
    }
    // SAFETY: number and place are the program's own, and the kernel checks both.
    result(unsafe { call(CLOCK_GETTIME, [number(clock), place.addr(), 0, 0]) })
}

/// gettimeofday(2).
#[cfg_attr(preload, unsafe(no_mangle))]
unsafe extern "C" fn gettimeofday(place: *mut TimeVal, zone: *mut [c_int; 2]) -> c_int {
    let now = clock::now();
    let value = TimeVal { seconds: signed(now.seconds), microseconds: signed(now.nanoseconds / 1_000) };
    // SAFETY: the program gives a place for each that it wants, and null for the other.
    unsafe {
        put(place, value);
        put(zone, [0, 0]);
    }
    0
}

/// time(2).
#[cfg_attr(preload, unsafe(no_mangle))]
unsafe extern "C" fn time(place: *mut i64) -> i64 {
    let seconds = signed(clock::now().seconds);
    // SAFETY: the program gives a place, or null.
    unsafe { put(place, seconds) };
    seconds
}

/// `timespec_get(3)`.
#[cfg_attr(preload, unsafe(no_mangle))]
unsafe extern "C" fn timespec_get(place: *mut TimeSpec, base: c_int) -> c_int {
    if base != TIME_UTC {
        return 0;
    }
    // SAFETY: the program gives a place for the time.
    unsafe { put(place, time_spec(clock::now())) };
    base
}

/// `ftime(3)`.
#[cfg_attr(preload, unsafe(no_mangle))]
unsafe extern "C" fn ftime(place: *mut TimeB) -> c_int {
    let now = clock::now();
    let milliseconds = u16::try_from(now.nanoseconds / 1_000_000).unwrap_or(0);
    // SAFETY: the program gives a place for the time.
    unsafe { put(place, TimeB { seconds: signed(now.seconds), milliseconds, zone: 0, summer: 0 }) };
    0
}

/// nanosleep(2).
#[cfg_attr(preload, unsafe(no_mangle))]
unsafe extern "C" fn nanosleep(wanted: *const TimeSpec, left: *mut TimeSpec) -> c_int {
    // SAFETY: the arguments are as clock_nanosleep takes them.
    match unsafe { clock_nanosleep(CLOCK_MONOTONIC, 0, wanted, left) } {
        0 => 0,
        error => fail(error),
    }
}

/// `clock_nanosleep(2)`, which returns the error's number.
#[cfg_attr(preload, unsafe(no_mangle))]
unsafe extern "C" fn clock_nanosleep(
    clock: c_int,
    flags: c_int,
    wanted: *const TimeSpec,
    left: *mut TimeSpec,
) -> c_int {
    if wanted.is_null() {
        return EINVAL;
    }
    // SAFETY: the program gives a time.
    let asked = unsafe { ptr::read(wanted) };
    let is_absolute = flags & TIMER_ABSTIME != 0;
    if is_absolute && !DATES.contains(&clock) {
        // SAFETY: the arguments are the program's own.
        return error_of(unsafe { sleep_in_kernel(clock, flags, wanted, left) });
    }
    // A date is a time of our clock, which the kernel does not know: sleep for the time until then.
    let duration = if is_absolute { until(asked, clock::now()) } else { asked };
    let clock = if DATES.contains(&clock) { CLOCK_MONOTONIC } else { clock };
    let left = if is_absolute { ptr::null_mut() } else { left };
    // SAFETY: the time is on the stack, the place is the program's own, or null.
    let error = error_of(unsafe { sleep_in_kernel(clock, 0, &raw const duration, left) });
    if error == 0 {
        clock::has_slept(length(duration));
    }
    error
}

/// # Safety
///
/// `wanted` may be read, `left` is null or may be written.
unsafe fn sleep_in_kernel(clock: c_int, flags: c_int, wanted: *const TimeSpec, left: *mut TimeSpec) -> isize {
    let arguments = [number(clock), number(flags), wanted.addr(), left.addr()];
    // SAFETY: these are the arguments of this call; the caller guarantees that the pointers are valid.
    unsafe { call(CLOCK_NANOSLEEP, arguments) }
}

/// sleep(3): the seconds that are left after a signal.
#[cfg_attr(preload, unsafe(no_mangle))]
extern "C" fn sleep(seconds: c_uint) -> c_uint {
    let wanted = TimeSpec { seconds: i64::from(seconds), nanoseconds: 0 };
    let mut left = TimeSpec { seconds: 0, nanoseconds: 0 };
    // SAFETY: both are on the stack.
    match unsafe { clock_nanosleep(CLOCK_MONOTONIC, 0, &raw const wanted, &raw mut left) } {
        EINTR => c_uint::try_from(left.seconds).unwrap_or(0),
        _ => 0,
    }
}

/// usleep(3).
#[cfg_attr(preload, unsafe(no_mangle))]
extern "C" fn usleep(microseconds: c_uint) -> c_int {
    let (seconds, rest) = (microseconds / 1_000_000, microseconds % 1_000_000);
    let wanted = TimeSpec { seconds: i64::from(seconds), nanoseconds: i64::from(rest) * 1_000 };
    // SAFETY: the time is on the stack.
    unsafe { nanosleep(&raw const wanted, ptr::null_mut()) }
}

/// getrandom(2).
#[cfg_attr(preload, unsafe(no_mangle))]
unsafe extern "C" fn getrandom(place: *mut c_void, length: usize, _flags: c_uint) -> isize {
    // SAFETY: the program gives a place for that many bytes.
    unsafe { fill(place.cast(), length) };
    isize::try_from(length).unwrap_or(isize::MAX)
}

/// getentropy(3).
#[cfg_attr(preload, unsafe(no_mangle))]
unsafe extern "C" fn getentropy(place: *mut c_void, length: usize) -> c_int {
    if length > MOST_ENTROPY {
        return fail(EIO);
    }
    // SAFETY: the program gives a place for that many bytes.
    unsafe { fill(place.cast(), length) };
    0
}

/// `arc4random(3)`.
#[cfg_attr(preload, unsafe(no_mangle))]
extern "C" fn arc4random() -> u32 {
    let [first, second, third, fourth, ..] = random::next().to_le_bytes();
    u32::from_le_bytes([first, second, third, fourth])
}

/// `arc4random_buf(3)`.
#[cfg_attr(preload, unsafe(no_mangle))]
unsafe extern "C" fn arc4random_buf(place: *mut c_void, length: usize) {
    // SAFETY: the program gives a place for that many bytes.
    unsafe { fill(place.cast(), length) };
}

/// `arc4random_uniform(3)`.
#[cfg_attr(preload, unsafe(no_mangle))]
extern "C" fn arc4random_uniform(bound: u32) -> u32 {
    random::below(bound)
}

/// # Safety
///
/// `length` bytes may be written from `place` on.
unsafe fn fill(place: *mut u8, length: usize) {
    let mut word = 0;
    for at in 0..length {
        if at % 8 == 0 {
            word = random::next();
        }
        let [byte, ..] = word.to_le_bytes();
        word >>= 8;
        // SAFETY: `at` is below the length. Volatile, so that no call of memcpy(3) is made of the loop.
        unsafe { ptr::write_volatile(place.add(at), byte) };
    }
}

/// A C number as the kernel's calling convention passes it: with its sign extended.
fn number(value: c_int) -> usize {
    isize::try_from(value).unwrap_or(0).cast_unsigned()
}

fn error_of(result: isize) -> c_int {
    c_int::try_from(result.min(0).saturating_neg()).unwrap_or(EINVAL)
}

fn result(result: isize) -> c_int {
    match error_of(result) {
        0 => 0,
        error => fail(error),
    }
}

/// How long a sleep is, in nanoseconds, at most some centuries.
fn length(time: TimeSpec) -> u64 {
    let seconds = u64::try_from(time.seconds).unwrap_or(0);
    let nanoseconds = u64::try_from(time.nanoseconds).unwrap_or(0);
    seconds.saturating_mul(NANOSECONDS_PER_SECOND).saturating_add(nanoseconds)
}

/// From `now` to a date, nothing if it is past.
fn until(date: TimeSpec, now: Now) -> TimeSpec {
    let now = length(time_spec(now));
    let wait = length(date).saturating_sub(now);
    TimeSpec {
        seconds: signed(wait / NANOSECONDS_PER_SECOND),
        nanoseconds: signed(wait % NANOSECONDS_PER_SECOND),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_as_far_away_as_it_is_on_this_clock() {
        let now = Now { seconds: 1_793_491_200, nanoseconds: 5_000 };
        let wait = |seconds, nanoseconds| {
            let wait = until(TimeSpec { seconds, nanoseconds }, now);
            (wait.seconds, wait.nanoseconds)
        };
        assert_eq!(wait(1_793_491_202, 4_000), (1, 999_999_000));
        assert_eq!(wait(1_793_491_200, 5_000), (0, 0));
        assert_eq!(wait(5, 0), (0, 0));
        assert_eq!(wait(-5, 0), (0, 0));
    }

    #[test]
    fn other_clocks_and_errors_are_the_kernels() {
        let mut place = TimeSpec { seconds: -1, nanoseconds: -1 };
        // SAFETY: the place is on the stack.
        let first = unsafe { clock_gettime(CLOCK_MONOTONIC, &raw mut place) };
        assert!(first == 0 && place.seconds >= 0 && place.nanoseconds >= 0);
        // SAFETY: as above.
        let second = unsafe { clock_gettime(12_345, &raw mut place) };
        assert_eq!((second, std::io::Error::last_os_error().raw_os_error()), (-1, Some(EINVAL)));
        // SAFETY: nothing is written for so many bytes.
        let third = unsafe { getentropy(ptr::null_mut(), 257) };
        assert_eq!((third, std::io::Error::last_os_error().raw_os_error()), (-1, Some(EIO)));
    }

    #[test]
    fn exactly_the_bytes_asked_for_are_written() {
        let mut bytes = [0xee; 16];
        // SAFETY: 13 bytes from the second on are in the array.
        let given = unsafe { getrandom(bytes.as_mut_ptr().add(1).cast(), 13, 0) };
        assert_eq!((given, bytes[0], bytes[14], bytes[15]), (13, 0xee, 0xee, 0xee));
        assert!(bytes[1..14].iter().any(|byte| *byte != 0xee));
    }

    #[test]
    fn an_invalid_sleep_is_the_kernels_error() {
        let wrong = TimeSpec { seconds: 0, nanoseconds: -1 };
        // SAFETY: the time is on the stack.
        let (one, two) = unsafe {
            (
                clock_nanosleep(CLOCK_MONOTONIC, 0, &raw const wrong, ptr::null_mut()),
                nanosleep(&raw const wrong, ptr::null_mut()),
            )
        };
        assert_eq!((one, two), (EINVAL, -1));
    }
}
