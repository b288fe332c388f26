/*
 * A bad disk, put between a program and its system by LD_PRELOAD: below one folder it lets calls fail as it is told to
 * by a file that a test writes, and writes down what the program did there, for a test that cuts the power.
 *
 * Invariant: what is written down of a write stands there before the program hears that the write is done, and what is
 * written down of a wait for the disk says when it began: so a wait is never taken for more than it covers.
 *
 * Not seen: writes through mapped memory. SQLite's index of its log (-shm) is the only such file, and needs no disk.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Kinds of calls, as bits; tests/src/disk/fault.rs has the same. */
enum {
    WRITE = 1,
    SYNC_FILE = 2,
    SYNC_FOLDER = 4,
    OPEN_TO_WRITE = 8,
    RENAME = 16, /* names that go, come or change otherwise than by opening: unlink, mkdir, rename */
    TRUNCATE = 32,
    READ = 64,
};

/* What becomes of a call, where that is not an error number. */
enum {
    HALF = -1, /* of what is to be written or read only a part is */
    FULL = -2, /* files may grow by `room` bytes more, then there is no space */
    STALL = -3, /* it begins when there is no such rule any more */
};

/* One misfortune. Of no kind of calls: none. */
struct rule {
    uint64_t calls;
    int64_t outcome;
    /* How many more times; all ones: until further notice. */
    uint64_t times;
    /* How many calls are spared before. */
    uint64_t spared;
    uint64_t room;
    /* How often it came. */
    uint64_t hits;
    /* How the name ends; empty: any. */
    char ending[48];
};

#define RULES 8

/* The file that a test writes. */
struct control {
    /* Where the record ends. */
    uint64_t end;
    uint64_t tokens;
    struct rule rules[RULES];
};

/* Kinds of entries of the record; tests/src/disk/record.rs has the same. */
enum {
    CREATED = 1,
    MADE_FOLDER = 2,
    GONE = 3,
    WRITTEN = 4,
    CUT = 5,
    SYNC_BEGUN = 6,
    SYNC_DONE = 7,
    SYNC_FAILED = 8,
    RENAMED = 9,
};

struct entry {
    uint32_t kind;
    uint32_t path_bytes;
    uint64_t file;
    uint64_t at;
    uint64_t data_bytes;
};

static const char *root;
static size_t root_bytes;
static struct control *control;
static int record = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void fail(const char *what) {
    dprintf(2, "the bad disk: %s: %s\n", what, strerror(errno));
    _exit(99);
}

__attribute__((constructor)) static void begin(void) {
    const char *told = getenv("BAD_DISK_CONTROL"), *written = getenv("BAD_DISK_RECORD");
    root = getenv("BAD_DISK_ROOT");
    if (!root || !told || !written) return;
    root_bytes = strlen(root);
    int file = syscall(SYS_openat, AT_FDCWD, told, O_RDWR | O_CLOEXEC, 0);
    if (file < 0) fail(told);
    record = syscall(SYS_openat, AT_FDCWD, written, O_RDWR | O_CLOEXEC, 0);
    if (record < 0) fail(written);
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (mapped == MAP_FAILED) fail("mmap");
    syscall(SYS_close, file);
    control = mapped;
}

static int is_below(const char *path) {
    return strncmp(path, root, root_bytes) == 0 && (path[root_bytes] == '/' || path[root_bytes] == 0);
}

/* The path of an open file; false where it is none of ours. */
static int path_of(int file, char *path) {
    if (!control || file < 0 || file == record) return 0;
    int before = errno;
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    errno = before;
    if (length <= 0) return 0;
    path[length] = 0;
    return is_below(path);
}

/* The path that is meant by a name in a folder; false where it is none of ours. */
static int path_at(int folder, const char *name, char *path) {
    if (!control || !name) return 0;
    if (name[0] == '/' || folder == AT_FDCWD) {
        if (strlen(name) >= PATH_MAX) return 0;
        strcpy(path, name);
        return is_below(path);
    }
    if (!path_of(folder, path) || strlen(path) + strlen(name) + 2 > PATH_MAX) return 0;
    strcat(strcat(path, "/"), name);
    return 1;
}

static int ends(const char *path, const char *ending) {
    size_t path_length = strlen(path), length = strlen(ending);
    return length <= path_length && strcmp(path + path_length - length, ending) == 0;
}

/* Waits until no rule has a call stand still. */
static void stand_still(int call, const char *path) {
    for (int waited = 0, waits = 1; waits; waited = 1) {
        pthread_mutex_lock(&lock);
        waits = 0;
        for (int at = 0; at < RULES; at++) {
            struct rule *rule = &control->rules[at];
            if (!(__atomic_load_n(&rule->calls, __ATOMIC_ACQUIRE) & call) || !ends(path, rule->ending)) continue;
            if (rule->outcome != STALL) continue;
            if (!waited) rule->hits++;
            waits = 1;
        }
        pthread_mutex_unlock(&lock);
        if (waits) usleep(1000);
    }
}

/* What is to become of a call: 0 where nothing is to. Of HALF and FULL `count` says how much may be done. */
static int misfortune(int call, const char *path, uint64_t growth, size_t *count) {
    int outcome = 0;
    stand_still(call, path);
    pthread_mutex_lock(&lock);
    for (int at = 0; at < RULES && outcome == 0; at++) {
        struct rule *rule = &control->rules[at];
        if (!(__atomic_load_n(&rule->calls, __ATOMIC_ACQUIRE) & call) || !ends(path, rule->ending)) continue;
        if (rule->outcome == STALL || rule->times == 0 || (rule->outcome == HALF && *count < 2)) continue;
        if (rule->spared > 0) {
            rule->spared--;
            continue;
        }
        if (rule->outcome == FULL) {
            if (growth <= rule->room) {
                rule->room -= growth;
                continue;
            }
            uint64_t short_by = growth - rule->room;
            rule->room = 0;
            rule->hits++;
            if (short_by >= *count) outcome = ENOSPC;
            else *count -= short_by, outcome = HALF;
            break;
        }
        if (rule->times != UINT64_MAX) rule->times--;
        rule->hits++;
        if (rule->outcome == HALF) *count /= 2;
        outcome = rule->outcome;
    }
    pthread_mutex_unlock(&lock);
    return outcome;
}

static int is_error(int outcome) {
    if (outcome > 0) errno = outcome;
    return outcome > 0;
}

/* Writes one entry down. The lock is held. */
static void put(uint32_t kind, const char *path, uint64_t file, uint64_t at, const void *data, size_t data_bytes) {
    int before = errno;
    struct entry entry = {kind, path ? strlen(path) : 0, file, at, data_bytes};
    struct iovec parts[] = {
        {&entry, sizeof entry}, {(void *)path, entry.path_bytes}, {(void *)data, data_bytes},
    };
    size_t all = sizeof entry + entry.path_bytes + data_bytes;
    uint64_t end = control->end;
    if (syscall(SYS_pwritev, record, parts, 3, (long)end, 0L) != (long)all) fail("the record");
    __atomic_store_n(&control->end, end + all, __ATOMIC_RELEASE);
    errno = before;
}

static uint64_t number_of(int file) {
    struct stat found;
    return fstat(file, &found) == 0 ? found.st_ino : 0;
}

/* Writing. `at` is below zero where the file's own place counts. */
static ssize_t write_all(int file, const struct iovec *parts, int count, off_t at) {
    char path[PATH_MAX];
    struct stat found;
    int ours = path_of(file, path);
    if (!ours || fstat(file, &found) != 0 || !S_ISREG(found.st_mode)) {
        if (at < 0) return syscall(SYS_writev, file, parts, count);
        return syscall(SYS_pwritev, file, parts, count, (long)at, 0L);
    }
    size_t wanted = 0;
    for (int part = 0; part < count; part++) wanted += parts[part].iov_len;
    char *bytes = malloc(wanted ? wanted : 1);
    if (!bytes) fail("malloc");
    size_t filled = 0;
    for (int part = 0; part < count; part++) {
        memcpy(bytes + filled, parts[part].iov_base, parts[part].iov_len);
        filled += parts[part].iov_len;
    }
    int appends = syscall(SYS_fcntl, file, F_GETFL) & O_APPEND;
    off_t place = at >= 0 ? at : appends ? found.st_size : lseek(file, 0, SEEK_CUR);
    off_t end = place + (off_t)wanted;
    uint64_t growth = end > found.st_size ? end - (found.st_size > place ? found.st_size : place) : 0;
    ssize_t done = -1;
    if (!is_error(misfortune(WRITE, path, growth, &wanted))) {
        pthread_mutex_lock(&lock);
        if (appends && fstat(file, &found) == 0) place = found.st_size;
        done = at >= 0 ? syscall(SYS_pwrite64, file, bytes, wanted, (long)at) : syscall(SYS_write, file, bytes, wanted);
        if (done > 0) put(WRITTEN, NULL, found.st_ino, place, bytes, done);
        pthread_mutex_unlock(&lock);
    }
    int before = errno;
    free(bytes);
    errno = before;
    return done;
}

ssize_t write(int file, const void *data, size_t bytes) {
    /* Also what a signal's handler calls: nothing is done before it is known that the file is ours. */
    char path[PATH_MAX];
    if (!path_of(file, path)) return syscall(SYS_write, file, data, bytes);
    struct iovec part = {(void *)data, bytes};
    return write_all(file, &part, 1, -1);
}

ssize_t pwrite64(int file, const void *data, size_t bytes, off64_t at) {
    struct iovec part = {(void *)data, bytes};
    return write_all(file, &part, 1, at);
}

ssize_t pwrite(int file, const void *data, size_t bytes, off_t at) { return pwrite64(file, data, bytes, at); }

ssize_t writev(int file, const struct iovec *parts, int count) {
    char path[PATH_MAX];
    if (!path_of(file, path)) return syscall(SYS_writev, file, parts, count);
    return write_all(file, parts, count, -1);
}

ssize_t pwritev64(int file, const struct iovec *parts, int count, off64_t at) {
    return write_all(file, parts, count, at);
}

ssize_t pwritev(int file, const struct iovec *parts, int count, off_t at) { return pwritev64(file, parts, count, at); }

ssize_t read(int file, void *data, size_t bytes) {
    char path[PATH_MAX];
    if (path_of(file, path) && is_error(misfortune(READ, path, 0, &bytes))) return -1;
    return syscall(SYS_read, file, data, bytes);
}

ssize_t pread64(int file, void *data, size_t bytes, off64_t at) {
    char path[PATH_MAX];
    if (path_of(file, path) && is_error(misfortune(READ, path, 0, &bytes))) return -1;
    return syscall(SYS_pread64, file, data, bytes, (long)at);
}

ssize_t pread(int file, void *data, size_t bytes, off_t at) { return pread64(file, data, bytes, at); }

/* Waiting for the disk. Of a folder it is its names that are waited for: for those fdatasync promises nothing. */
static int sync_file(long call, int file) {
    char path[PATH_MAX];
    struct stat found;
    if (!path_of(file, path) || fstat(file, &found) != 0) return syscall(call, file);
    int folder = S_ISDIR(found.st_mode);
    const char *of = folder ? path : NULL;
    size_t none = 0;
    pthread_mutex_lock(&lock);
    uint64_t token = ++control->tokens;
    if (!folder || call == SYS_fsync) put(SYNC_BEGUN, of, found.st_ino, token, NULL, 0);
    pthread_mutex_unlock(&lock);
    int failed = is_error(misfortune(folder ? SYNC_FOLDER : SYNC_FILE, path, 0, &none)) || syscall(call, file) != 0;
    pthread_mutex_lock(&lock);
    if (!folder || call == SYS_fsync) put(failed ? SYNC_FAILED : SYNC_DONE, of, found.st_ino, token, NULL, 0);
    pthread_mutex_unlock(&lock);
    return failed ? -1 : 0;
}

int fsync(int file) { return sync_file(SYS_fsync, file); }

int fdatasync(int file) { return sync_file(SYS_fdatasync, file); }

int ftruncate64(int file, off64_t length) {
    char path[PATH_MAX];
    size_t none = 0;
    if (!path_of(file, path)) return syscall(SYS_ftruncate, file, (long)length);
    if (is_error(misfortune(TRUNCATE, path, 0, &none))) return -1;
    pthread_mutex_lock(&lock);
    int failed = syscall(SYS_ftruncate, file, (long)length);
    if (!failed) put(CUT, NULL, number_of(file), length, NULL, 0);
    pthread_mutex_unlock(&lock);
    return failed;
}

int ftruncate(int file, off_t length) { return ftruncate64(file, length); }

static int open_at(int folder, const char *name, int flags, mode_t mode) {
    char path[PATH_MAX];
    struct stat found;
    size_t none = 0;
    int to_write = (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC));
    if (!to_write || !path_at(folder, name, path)) return syscall(SYS_openat, folder, name, flags, mode);
    if (is_error(misfortune(OPEN_TO_WRITE, path, 0, &none))) return -1;
    pthread_mutex_lock(&lock);
    int there = stat(path, &found) == 0;
    int file = syscall(SYS_openat, folder, name, flags, mode);
    if (file >= 0 && !there) put(CREATED, path, number_of(file), 0, NULL, 0);
    else if (file >= 0 && (flags & O_TRUNC)) put(CUT, NULL, number_of(file), 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    return file;
}

#define WITH_MODE(flags)                                \
    mode_t mode = 0;                                    \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {            \
        va_list more;                                   \
        va_start(more, flags);                          \
        mode = va_arg(more, mode_t);                    \
        va_end(more);                                   \
    }

int open(const char *name, int flags, ...) {
    WITH_MODE(flags)
    return open_at(AT_FDCWD, name, flags, mode);
}

int open64(const char *name, int flags, ...) {
    WITH_MODE(flags)
    return open_at(AT_FDCWD, name, flags | O_LARGEFILE, mode);
}

int openat(int folder, const char *name, int flags, ...) {
    WITH_MODE(flags)
    return open_at(folder, name, flags, mode);
}

int openat64(int folder, const char *name, int flags, ...) {
    WITH_MODE(flags)
    return open_at(folder, name, flags | O_LARGEFILE, mode);
}

int unlinkat(int folder, const char *name, int flags) {
    char path[PATH_MAX];
    size_t none = 0;
    if (!path_at(folder, name, path)) return syscall(SYS_unlinkat, folder, name, flags);
    if (is_error(misfortune(RENAME, path, 0, &none))) return -1;
    pthread_mutex_lock(&lock);
    int failed = syscall(SYS_unlinkat, folder, name, flags);
    if (!failed) put(GONE, path, 0, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    return failed;
}

int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }

int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }

int mkdirat(int folder, const char *name, mode_t mode) {
    char path[PATH_MAX];
    size_t none = 0;
    if (!path_at(folder, name, path)) return syscall(SYS_mkdirat, folder, name, mode);
    if (is_error(misfortune(RENAME, path, 0, &none))) return -1;
    pthread_mutex_lock(&lock);
    int failed = syscall(SYS_mkdirat, folder, name, mode);
    if (!failed) put(MADE_FOLDER, path, 0, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    return failed;
}

int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }

int rename(const char *from, const char *to) {
    char path[PATH_MAX], other[PATH_MAX];
    size_t none = 0;
    if (!path_at(AT_FDCWD, from, path) || !path_at(AT_FDCWD, to, other)) {
        return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    }
    if (is_error(misfortune(RENAME, other, 0, &none))) return -1;
    pthread_mutex_lock(&lock);
    int failed = syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    if (!failed) put(RENAMED, path, 0, 0, other, strlen(other));
    pthread_mutex_unlock(&lock);
    return failed;
}

/* None of the programs links, and none reserves room: who begins to must be followed. */
static int unknown(const char *call, const char *name) {
    char path[PATH_MAX];
    if (path_at(AT_FDCWD, name, path)) dprintf(2, "the bad disk does not know %s of %s\n", call, path), _exit(99);
    return 0;
}

int link(const char *from, const char *to) {
    unknown("link", from), unknown("link", to);
    return syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int fallocate64(int file, int mode, off64_t at, off64_t length) {
    char path[PATH_MAX];
    if (path_of(file, path)) unknown("fallocate", path);
    return syscall(SYS_fallocate, file, mode, (long)at, (long)length);
}

int fallocate(int file, int mode, off_t at, off_t length) { return fallocate64(file, mode, at, length); }
