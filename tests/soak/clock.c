/* Shifts the clock of a program by the seconds in the file that CLOCK_OFFSET names.
 *
 * The soak preloads it into pods (LD_PRELOAD), because Linux has no namespaces for the time of day. Timers and the
 * monotonic clock stay as they are. It uses nothing that a libc of another version lacks, and allocates nothing, so
 * that it also works in programs with an allocator of their own.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long read_offset(void) {
    char text[16] = "";
    const char *name = getenv("CLOCK_OFFSET"), *at = text;
    long seconds = 0, sign = 1;
    int before = errno;
    long file = name ? syscall(SYS_openat, AT_FDCWD, name, O_RDONLY | O_CLOEXEC) : -1;
    if (file >= 0) {
        syscall(SYS_read, file, text, sizeof text - 1);
        syscall(SYS_close, file);
    }
    errno = before;
    if (*at == '-') sign = -1, at++;
    while (*at >= '0' && *at <= '9') seconds = 10 * seconds + (*at++ - '0');
    return sign * seconds;
}

/* The file is read ten times a second at most. Threads may both read it, which does no harm. */
static long offset(const struct timespec *now) {
    static volatile long tenth = -1, seconds = 0;
    long current = 10 * now->tv_sec + now->tv_nsec / 100000000;
    if (current != tenth) {
        seconds = read_offset();
        tenth = current;
    }
    return seconds;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    long failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += offset(now);
    return (int)failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *stored) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (stored) *stored = precise.tv_sec;
    return precise.tv_sec;
}
