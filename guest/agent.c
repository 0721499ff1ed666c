// The guest's side of `vmlet run -- CMD`: the first process of a guest, which sets it up, runs commands for the host over a virtio
// console port and reaps what they leave behind. guest/README.md describes the protocol. Started with another process id than 1 it
// sets nothing up and speaks the protocol on its standard input and output.
#include "sys.h"

enum { VERSION = 1, HEADER = 16, WINDOW = 65536, CHUNK = 32768, MESSAGE = 2 << 20, COMMANDS = 32, STRINGS = 65536, DRAIN = 1 << 20 };

enum { RUN = 1, STDIN, STDIN_EOF, SIGNAL, RESIZE, PING, SHUTDOWN };
enum { HELLO = 0x81, STARTED, ERROR, STDOUT, STDERR, CREDIT, EXIT, PONG };
enum { RUN_TTY = 1, RUN_STDIN = 2 };
enum { STAGE_EXEC, STAGE_FOLDER, STAGE_USER, STAGE_RESOURCES };
enum { POWER_OFF, RESTART, HALT };

struct frame { u16 type, flags; u32 id, sequence, length; };
/** The fixed part of a RUN message; strings follow: user, folder, arguments, environment. */
struct run { u32 flags; u16 columns, rows; u32 argc, envc; };
struct failure { u32 stage, error; };

struct command {
    int used, pid, in, out, err, tty, ended, status, eof;
    u32 id, head, filled, credit;
    u8 ring[WINDOW];
};

static struct command commands[COMMANDS];
static u8 inbox[HEADER + MESSAGE], outbox[HEADER + CHUNK];
static u32 inbox_used, sent, received;
static char *strings[STRINGS + 2];
static char scratch[65536];
static int port_in = -1, port_out = -1, signals = -1, uevents = -1, is_init, shell_pid;
static int want_agent, want_shell, want_net;
static struct winsize console_size;
static char term[64] = "linux";

static void complain(const char *text) {
    sys(SYS_write, 2, "vmlet-init: ", 12);
    sys(SYS_write, 2, text, length(text));
    sys(SYS_write, 2, "\n", 1);
}

__attribute__((noreturn)) static void leave(int code) {
    for (;;) sys(SYS_exit, code);
}

static void write_all(int fd, const u8 *bytes, u32 left) {
    while (left > 0) {
        word done = sys(SYS_write, fd, bytes, left);
        if (done == -EINTR) continue;
        if (done == -EAGAIN) {
            struct pollfd wait = {fd, POLLOUT, 0};
            sys(SYS_ppoll, &wait, 1, NULL, NULL, 8);
            continue;
        }
        if (done <= 0) {
            if (!is_init) leave(1);
            return;
        }
        bytes += done;
        left -= done;
    }
}

/** Messages start on multiples of four. */
static u32 padded(u32 bytes) {
    return (bytes + 3) & ~3u;
}

/** Sends what lies in the outbox behind the header. */
static void post(int type, u32 id, u32 bytes) {
    struct frame *frame = (struct frame *)outbox;
    *frame = (struct frame){type, 0, id, sent++, bytes};
    write_all(port_out, outbox, HEADER + padded(bytes));
}

static void post_words(int type, u32 id, int count, u32 a, u32 b) {
    u32 *words = (u32 *)(outbox + HEADER);
    words[0] = a;
    words[1] = b;
    post(type, id, 4 * count);
}

// Shutting down

static void unmount_all(void) {
    static char *lines[1024];
    int count = 0;
    if (read_file("/proc/mounts", scratch, sizeof scratch) < 0) return;
    for (char *at = scratch; *at && count < 1024;) {
        while (*at && *at != ' ' && *at != '\n') at++;
        if (*at != ' ') break;
        lines[count++] = ++at;
        while (*at && *at != ' ' && *at != '\n') at++;
        char *end = at;
        while (*at && *at != '\n') at++;
        if (*at) at++;
        *end = 0;
    }
    while (count-- > 0) {
        const char *path = lines[count];
        if (equal(path, "/") || equal(path, "/proc") || equal(path, "/dev")) continue;
        if (sys(SYS_umount2, path, 0) < 0) sys(SYS_mount, "none", path, NULL, MS_REMOUNT | MS_RDONLY, NULL);
    }
}

__attribute__((noreturn)) static void shut_down(u32 how) {
    if (!is_init) leave(0);
    sys(SYS_kill, -1, SIGKILL);
    sys(SYS_sync, 0);
    unmount_all();
    sys(SYS_sync, 0);
    sys(SYS_reboot, REBOOT_MAGIC1, REBOOT_MAGIC2, how == RESTART ? REBOOT_RESTART : how == HALT ? REBOOT_HALT : REBOOT_POWER_OFF, NULL);
    for (;;) sys(SYS_ppoll, NULL, 0, NULL, NULL, 8);
}

// In the new process

static u32 number(const char *text, const char **end) {
    u32 value = 0;
    while (*text >= '0' && *text <= '9') value = value * 10 + (*text++ - '0');
    *end = text;
    return value;
}

/** Cuts the next field off a line of colon-separated fields. */
static char *field(char **at) {
    char *start = *at;
    while (**at && **at != ':') ++*at;
    if (**at) *(*at)++ = 0;
    return start;
}

struct account { u32 uid, gid; const char *name, *home; };

/** Finds an account by name, or by number when `name` is NULL. */
static int find_account(const char *name, u32 uid, struct account *account) {
    if (read_file("/etc/passwd", scratch, sizeof scratch) < 0) return 0;
    for (char *at = scratch; *at;) {
        char *line = at;
        const char *end;
        while (*at && *at != '\n') at++;
        if (*at) *at++ = 0;
        char *user = field(&line);
        field(&line);
        u32 id = number(field(&line), &end), group = number(field(&line), &end);
        field(&line);
        if (name ? !equal(name, user) : id != uid) continue;
        *account = (struct account){id, group, user, field(&line)};
        return 1;
    }
    return 0;
}

/** Understands NAME, UID and UID:GID. */
static int parse_user(const char *text, struct account *account) {
    const char *end;
    *account = (struct account){0, 0, NULL, NULL};
    if (!*text) {
        find_account(NULL, 0, account);
        return 1;
    }
    u32 uid = number(text, &end);
    if (end == text) return find_account(text, 0, account);
    if (!find_account(NULL, uid, account)) *account = (struct account){uid, uid, NULL, "/"};
    account->uid = uid;
    if (*end == ':') account->gid = number(end + 1, &end);
    return *end == 0;
}

static const char *variable(char **env, const char *prefix) {
    for (; *env; env++) {
        const char *value = after(*env, prefix);
        if (value) return value;
    }
    return NULL;
}

/** Starts a program as a shell would; returns only the error. */
static int execute(char **argv, char **env) {
    static char path[8192];
    static char *script[STRINGS + 2];
    const char *folders = variable(env, "PATH=");
    const char *name = argv[0];
    int error = ENOENT, slash = 0;
    for (const char *at = name; *at; at++) slash |= *at == '/';
    if (!*name) return ENOENT;
    if (slash || !folders) folders = "";
    for (;;) {
        const char *end = folders;
        size_t used = 0;
        while (*end && *end != ':') end++;
        if (!slash && end > folders) {
            used = end - folders;
            if (used + length(name) + 2 > sizeof path) return ENAMETOOLONG;
            copy(path, folders, used);
            path[used++] = '/';
        }
        if (used + length(name) + 1 > sizeof path) return ENAMETOOLONG;
        copy(path + used, name, length(name) + 1);
        int failed = -sys(SYS_execve, path, argv, env);
        if (failed == ENOEXEC) {
            script[0] = "sh";
            script[1] = path;
            int i = 1;
            for (; argv[i]; i++) script[i + 1] = argv[i];
            script[i + 1] = NULL;
            return -sys(SYS_execve, "/bin/sh", script, env);
        }
        // A program that may not be run is remembered while the search goes on, as execvp(3) has it.
        if (failed == EACCES) error = EACCES;
        else if (failed != ENOENT && failed != ENOTDIR) return failed;
        if (!*end) return error;
        folders = end + 1;
    }
}

__attribute__((noreturn)) static void give_up(int report, u32 stage, u32 error) {
    struct failure failure = {stage, error};
    sys(SYS_write, report, &failure, sizeof failure);
    leave(127);
}

static void open_signals(void) {
    u64 none = 0;
    sys(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, 8);
}

__attribute__((noreturn)) static void become(struct run *run, const char *user, const char *folder, char **argv, char **env, const int *fds, int report) {
    static char home[4096 + 8], login[256];
    struct account account;
    sys(SYS_setsid, 0);
    if (run->flags & RUN_TTY) sys(SYS_ioctl, fds[0], TIOCSCTTY, 0);
    // The three descriptors may overlap 0 to 2 only in the mode without set-up, where those are taken.
    for (int i = 0; i < 3; i++) sys(SYS_dup2, fds[i], i);
    if (!parse_user(user, &account)) give_up(report, STAGE_USER, ENOENT);
    char **end = env;
    while (*end) end++;
    if (account.home && !variable(env, "HOME=") && length(account.home) < 4096) {
        copy(home, "HOME=", 5);
        copy(home + 5, account.home, length(account.home) + 1);
        *end++ = home;
    }
    if (account.name && !variable(env, "USER=") && length(account.name) < 200) {
        copy(login, "USER=", 5);
        copy(login + 5, account.name, length(account.name) + 1);
        *end++ = login;
    }
    *end = NULL;
    if (account.uid != 0 || account.gid != 0 || *user) {
        if (run->flags & RUN_TTY) sys(SYS_fchown, 0, account.uid, -1);
        int failed = 0;
        if (is_init) failed = sys(SYS_setgroups, 1, &account.gid) | sys(SYS_setgid, account.gid);
        failed |= sys(SYS_setuid, account.uid);
        if (failed) give_up(report, STAGE_USER, EACCES);
    }
    if (*folder) {
        int failed = -sys(SYS_chdir, folder);
        if (failed) give_up(report, STAGE_FOLDER, failed);
    }
    open_signals();
    give_up(report, STAGE_EXEC, execute(argv, env));
}

// Commands

static struct command *find(u32 id) {
    for (int i = 0; i < COMMANDS; i++) if (commands[i].used && commands[i].id == id) return &commands[i];
    return NULL;
}

static void set_nonblocking(int fd) {
    sys(SYS_fcntl, fd, F_SETFL, sys(SYS_fcntl, fd, F_GETFL, 0) | O_NONBLOCK);
}

static void close_stdin(struct command *c) {
    if (c->in >= 0 && !c->tty) close_fd(&c->in);
    c->in = -1;
    c->filled = 0;
}

static void release(struct command *c) {
    close_stdin(c);
    close_fd(&c->out);
    close_fd(&c->err);
    c->used = 0;
}

/** Makes a pseudo terminal; its other end is opened as `*slave`. */
static int open_pty(int *slave, u16 columns, u16 rows) {
    static char name[32] = "/dev/pts/";
    int master = open_fd("/dev/ptmx", O_RDWR | O_NOCTTY), zero = 0;
    u32 index;
    if (master < 0) return -1;
    if (sys(SYS_ioctl, master, TIOCSPTLCK, &zero) >= 0 && sys(SYS_ioctl, master, TIOCGPTN, &index) >= 0) {
        char digits[12];
        int n = 0, at = 9;
        do digits[n++] = '0' + index % 10; while (index /= 10);
        while (n) name[at++] = digits[--n];
        name[at] = 0;
        struct winsize size = {rows, columns, 0, 0};
        if (columns) sys(SYS_ioctl, master, TIOCSWINSZ, &size);
        *slave = open_fd(name, O_RDWR | O_NOCTTY);
        if (*slave >= 0) return master;
    }
    close_fd(&master);
    return -1;
}

static char *next_string(char **at, u8 *end) {
    char *start = *at;
    while ((u8 *)*at < end && **at) ++*at;
    ++*at;
    return start;
}

static void start_command(u32 id, struct run *run, u8 *end) {
    struct command *c = NULL;
    int fds[3] = {-1, -1, -1}, report[2] = {-1, -1}, pair[2];
    for (int i = 0; i < COMMANDS && !c; i++) if (!commands[i].used) c = &commands[i];
    char *text = (char *)(run + 1);
    u32 total = run->argc + run->envc;
    int sound = c && !find(id) && run->argc > 0 && run->argc <= STRINGS && run->envc <= STRINGS && total <= STRINGS - 4 && end > (u8 *)text && !end[-1];
    const char *user = next_string(&text, end), *folder = next_string(&text, end);
    for (u32 i = 0, at = 0; sound && i < total; i++) {
        if (i == run->argc) at++;
        sound = (u8 *)text < end;
        strings[at++] = next_string(&text, end);
    }
    if (!sound) {
        post_words(ERROR, id, 2, STAGE_RESOURCES, c ? EPROTO : EAGAIN);
        return;
    }
    strings[run->argc] = NULL;
    char **env = strings + run->argc + 1;
    env[run->envc] = NULL;
    c->used = 1;
    c->id = id;
    c->tty = (run->flags & RUN_TTY) != 0;
    c->in = c->out = c->err = -1;
    c->ended = c->eof = 0;
    c->head = c->filled = c->credit = 0;
    int failed = 0;
    if (c->tty) {
        c->in = c->out = open_pty(&fds[0], run->columns, run->rows);
        fds[1] = fds[2] = fds[0];
        failed = c->out < 0;
    } else {
        if (run->flags & RUN_STDIN) {
            failed = sys(SYS_pipe2, pair, O_CLOEXEC) < 0;
            if (!failed) fds[0] = pair[0], c->in = pair[1];
        } else {
            fds[0] = open_fd("/dev/null", O_RDONLY);
            failed = fds[0] < 0;
        }
        if (!failed && !(failed = sys(SYS_pipe2, pair, O_CLOEXEC) < 0)) c->out = pair[0], fds[1] = pair[1];
        if (!failed && !(failed = sys(SYS_pipe2, pair, O_CLOEXEC) < 0)) c->err = pair[0], fds[2] = pair[1];
    }
    failed = failed || sys(SYS_pipe2, report, O_CLOEXEC) < 0;
    if (!failed) {
        c->pid = fork_process();
        if (c->pid == 0) become(run, user, folder, strings, env, fds, report[1]);
        failed = c->pid < 0;
    }
    close_fd(&fds[0]);
    if (!c->tty) {
        close_fd(&fds[1]);
        close_fd(&fds[2]);
    }
    close_fd(&report[1]);
    struct failure failure = {STAGE_RESOURCES, EAGAIN};
    if (!failed) {
        word got;
        do got = sys(SYS_read, report[0], &failure, sizeof failure); while (got == -EINTR);
        failed = got == sizeof failure;
        if (failed) sys(SYS_wait4, c->pid, NULL, 0, NULL);
    }
    close_fd(&report[0]);
    if (failed) {
        release(c);
        post_words(ERROR, id, 2, failure.stage, failure.error);
        return;
    }
    if (c->in >= 0) set_nonblocking(c->in);
    set_nonblocking(c->out);
    if (c->err >= 0) set_nonblocking(c->err);
    post_words(STARTED, id, 1, c->pid, 0);
}

/** Passes one piece of output on; returns its size, 0 when there is none now, -1 at the end. */
static int forward(struct command *c, int fd, int type) {
    word got = sys(SYS_read, fd, outbox + HEADER, CHUNK);
    if (got > 0) post(type, c->id, got);
    return got > 0 ? got : got == -EAGAIN || got == -EINTR ? 0 : -1;
}

/** `fd` is one of the command's fields. */
static void pump(struct command *c, int *fd, int type) {
    if (forward(c, *fd, type) >= 0) return;
    if (fd == &c->out && c->tty) c->in = -1;
    close_fd(fd);
}

static void drain(struct command *c, int *fd, int type) {
    for (int total = 0, got; *fd >= 0 && total < DRAIN; total += got) {
        got = forward(c, *fd, type);
        if (got <= 0) return;
    }
}

static void finish(struct command *c) {
    drain(c, &c->out, STDOUT);
    drain(c, &c->err, STDERR);
    u32 id = c->id, signal = c->status & 0x7f;
    release(c);
    post_words(EXIT, id, 2, signal != 0, signal ? signal : (c->status >> 8) & 0xff);
}

static void feed(struct command *c) {
    while (c->filled > 0) {
        u32 run = WINDOW - c->head < c->filled ? WINDOW - c->head : c->filled;
        word done = sys(SYS_write, c->in, c->ring + c->head, run);
        if (done == -EINTR) continue;
        if (done == -EAGAIN) break;
        if (done < 0) {
            close_stdin(c);
            post_words(CREDIT, c->id, 2, 0, 1);
            return;
        }
        c->head = (c->head + done) % WINDOW;
        c->filled -= done;
        c->credit += done;
    }
    if (c->credit > 0 && (c->filled == 0 || c->credit >= WINDOW / 4)) {
        post_words(CREDIT, c->id, 2, c->credit, 0);
        c->credit = 0;
    }
    if (c->filled == 0 && c->eof) close_stdin(c);
}

static void accept_stdin(struct command *c, const u8 *bytes, u32 count) {
    if (c->in < 0 || c->eof) return;
    if (count > WINDOW - c->filled) {
        complain("the host sent more input than it may");
        count = WINDOW - c->filled;
    }
    for (u32 done = 0; done < count;) {
        u32 at = (c->head + c->filled) % WINDOW, run = count - done < WINDOW - at ? count - done : WINDOW - at;
        copy(c->ring + at, bytes + done, run);
        c->filled += run;
        done += run;
    }
    feed(c);
}

static void reap(void) {
    static u8 infos[128 * 8];
    while (sys(SYS_read, signals, infos, sizeof infos) > 0) {}
    for (;;) {
        int status, pid = sys(SYS_wait4, -1, &status, WNOHANG, NULL);
        if (pid <= 0) return;
        if (pid == shell_pid) shut_down(POWER_OFF);
        for (int i = 0; i < COMMANDS; i++) {
            struct command *c = &commands[i];
            if (!c->used || c->pid != pid) continue;
            c->status = status;
            finish(c);
            break;
        }
    }
}

// Messages

static void handle(struct frame *frame, u8 *body) {
    u32 *words = (u32 *)body;
    struct command *c = find(frame->id);
    switch (frame->type) {
    case RUN:
        if (frame->length > sizeof(struct run)) start_command(frame->id, (struct run *)body, body + frame->length);
        else post_words(ERROR, frame->id, 2, STAGE_RESOURCES, EPROTO);
        break;
    case STDIN:
        if (c) accept_stdin(c, body, frame->length);
        break;
    case STDIN_EOF:
        if (!c || c->in < 0 || c->eof) break;
        if (c->tty) {
            accept_stdin(c, (const u8 *)"\4", 1);
        } else {
            c->eof = 1;
            feed(c);
        }
        break;
    case SIGNAL:
        if (c && frame->length >= 4) sys(SYS_kill, -c->pid, words[0]);
        break;
    case RESIZE:
        if (frame->length >= 4) {
            struct winsize size = {((u16 *)body)[1], ((u16 *)body)[0], 0, 0};
            if (c && c->tty && c->out >= 0) sys(SYS_ioctl, c->out, TIOCSWINSZ, &size);
            else if (!frame->id && shell_pid) sys(SYS_ioctl, 0, TIOCSWINSZ, &size);
        }
        break;
    case PING:
        post_words(PONG, frame->id, 0, 0, 0);
        break;
    case SHUTDOWN:
        shut_down(frame->length >= 4 ? words[0] : POWER_OFF);
    default:
        complain("the host sent a message of an unknown kind");
    }
}

static void receive(void) {
    word got = sys(SYS_read, port_in, inbox + inbox_used, sizeof inbox - inbox_used);
    if (got == -EAGAIN || got == -EINTR) return;
    if (got <= 0) {
        if (!is_init) shut_down(POWER_OFF);
        if (got == 0) port_in = -1;
        return;
    }
    inbox_used += got;
    u32 at = 0;
    while (inbox_used - at >= HEADER) {
        struct frame *frame = (struct frame *)(inbox + at);
        if (frame->length > MESSAGE || frame->sequence != received) {
            complain("the host's messages are out of order");
            shut_down(POWER_OFF);
        }
        u32 whole = HEADER + padded(frame->length);
        if (inbox_used - at < whole) break;
        received++;
        handle(frame, inbox + at + HEADER);
        at += whole;
    }
    inbox_used -= at;
    copy(inbox, inbox + at, inbox_used);
}

static void hello(void) {
    struct utsname names;
    u32 *words = (u32 *)(outbox + HEADER);
    sys(SYS_uname, &names);
    words[0] = VERSION;
    words[1] = BITS;
    words[2] = WINDOW;
    u32 bytes = length(names.release);
    copy(outbox + HEADER + 12, names.release, bytes);
    post(HELLO, 0, 12 + bytes);
}

// Setting the guest up

static void set_up_files(void) {
    sys(SYS_mount, "proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    sys(SYS_mount, "sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    sys(SYS_mount, "devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=755");
    sys(SYS_mkdir, "/dev/pts", 0755);
    sys(SYS_mkdir, "/dev/shm", 01777);
    sys(SYS_mount, "devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "mode=620,gid=5,ptmxmode=666");
    sys(SYS_mount, "tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
    sys(SYS_mount, "tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755");
    sys(SYS_mount, "tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
    sys(SYS_symlink, "/proc/self/fd", "/dev/fd");
    sys(SYS_symlink, "/proc/self/fd/0", "/dev/stdin");
    sys(SYS_symlink, "/proc/self/fd/1", "/dev/stdout");
    sys(SYS_symlink, "/proc/self/fd/2", "/dev/stderr");
}

static void set_up_names(void) {
    int bytes = read_file("/etc/hostname", scratch, 65);
    while (bytes > 0 && scratch[bytes - 1] == '\n') bytes--;
    if (bytes > 0) sys(SYS_sethostname, scratch, bytes);
    struct ifreq loopback = {"lo", 0, ""};
    int fd = make_socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return;
    sys(SYS_ioctl, fd, SIOCGIFFLAGS, &loopback);
    loopback.flags |= IFF_UP;
    sys(SYS_ioctl, fd, SIOCSIFFLAGS, &loopback);
    close_fd(&fd);
}

static void load_modules(void) {
    static char list[16384];
    if (read_file("/lib/modules/vmlet.list", list, sizeof list) < 0) return;
    for (char *at = list; *at;) {
        char *path = at;
        while (*at && *at != '\n') at++;
        if (*at) *at++ = 0;
        if (!*path) continue;
        int fd = open_fd(path, O_RDONLY);
        word failed = fd < 0 ? fd : sys(SYS_finit_module, fd, "", 0);
        if (failed < 0 && failed != -EEXIST) {
            complain("a kernel module cannot be loaded:");
            complain(path);
        }
        close_fd(&fd);
    }
}

/** Drivers and addresses are a script's business; commands find the network ready. */
static void set_up_network(void) {
    static char *argv[] = {"/etc/vmlet/net", NULL};
    static char *env[] = {"HOME=/", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
    int pid = fork_process(), status;
    if (pid == 0) {
        open_signals();
        sys(SYS_execve, argv[0], argv, env);
        leave(127);
    }
    if (pid > 0) sys(SYS_wait4, pid, &status, 0, NULL);
}

/** Copies the rest of a word of the command line. */
static void take_word(const char *from, char *to, int capacity) {
    int used = 0;
    while (from[used] > ' ' && used < capacity - 1) to[used] = from[used], used++;
    to[used] = 0;
}

static void read_command_line(void) {
    if (read_file("/proc/cmdline", scratch, sizeof scratch) < 0) scratch[0] = 0;
    for (const char *at = scratch; *at;) {
        const char *value, *end;
        if (after(at, "vmlet.agent")) want_agent = 1;
        if (after(at, "vmlet.shell")) want_shell = 1;
        if (after(at, "vmlet.net=")) want_net = 1;
        if ((value = after(at, "vmlet.term="))) take_word(value, term, sizeof term);
        if ((value = after(at, "vmlet.size="))) {
            console_size.columns = number(value, &end);
            if (*end == 'x') console_size.rows = number(end + 1, &end);
        }
        while (*at > ' ') at++;
        while (*at && *at <= ' ') at++;
    }
    if (!want_agent) want_shell = 1;
}

/** Joins folder and name (and a third part) in a buffer. */
static char *join(char *into, const char *a, const char *b, const char *c) {
    char *at = into;
    copy(at, a, length(a)), at += length(a);
    copy(at, b, length(b)), at += length(b);
    copy(at, c, length(c) + 1);
    return into;
}

static int find_port(void) {
    static char entries[4096], path[512], name[128];
    int folder = open_fd("/sys/class/virtio-ports", O_RDONLY | O_DIRECTORY), found = -1;
    if (folder < 0) return -1;
    for (word got; found < 0 && (got = sys(SYS_getdents64, folder, entries, sizeof entries)) > 0;) {
        for (word at = 0; at < got && found < 0;) {
            struct dirent64 *entry = (struct dirent64 *)(entries + at);
            at += entry->reclen;
            if (entry->name[0] == '.' || length(entry->name) > 64) continue;
            if (read_file(join(path, "/sys/class/virtio-ports/", entry->name, "/name"), name, sizeof name) < 0) continue;
            const char *rest = after(name, "org.vmlet.agent");
            if (rest && *rest <= ' ') found = open_fd(join(path, "/dev/", entry->name, ""), O_RDWR);
        }
    }
    close_fd(&folder);
    return found;
}

static void open_port(void) {
    if (port_out >= 0) return;
    port_in = port_out = find_port();
    if (port_out < 0) return;
    close_fd(&uevents);
    hello();
}

static void listen_uevents(void) {
    struct sockaddr_nl address = {AF_NETLINK, 0, 0, 1};
    uevents = make_socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);
    if (uevents >= 0 && bind_socket(uevents, &address, sizeof address) < 0) close_fd(&uevents);
}

/** The terminal behind /dev/console, which itself cannot be a controlling terminal. */
static int open_console(void) {
    static char active[256], path[300];
    int bytes = read_file("/sys/class/tty/console/active", active, sizeof active);
    while (bytes > 0 && active[bytes - 1] <= ' ') active[--bytes] = 0;
    char *name = active;
    for (char *at = active; *at; at++) if (*at == ' ') name = at + 1;
    if (bytes <= 0) name = "console";
    return open_fd(join(path, "/dev/", name, ""), O_RDWR);
}

static void start_shell(void) {
    static char variable_term[80];
    static char *env[] = {"HOME=/root", "USER=root", "LOGNAME=root", "SHELL=/bin/sh", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "PS1=\\u@\\h:\\w\\$ ", variable_term, NULL};
    static char *argv[] = {"-sh", NULL};
    join(variable_term, "TERM=", term, "");
    shell_pid = fork_process();
    if (shell_pid != 0) return;
    sys(SYS_setsid, 0);
    int fd = open_console();
    if (fd >= 0) {
        sys(SYS_ioctl, fd, TIOCSCTTY, 1);
        if (console_size.columns) sys(SYS_ioctl, fd, TIOCSWINSZ, &console_size);
        for (int i = 0; i < 3; i++) sys(SYS_dup2, fd, i);
    }
    sys(SYS_chdir, "/root");
    open_signals();
    sys(SYS_execve, "/bin/sh", argv, env);
    complain("there is no shell: /bin/sh cannot be run");
    leave(127);
}

static void serve(void) {
    static struct pollfd polls[3 + 3 * COMMANDS];
    static struct { struct command *c; int *fd, type; } sources[3 + 3 * COMMANDS];
    // One long wait for a port that should be there, not a poll: without it the host would wait for ever.
    struct timespec patience = {20, 0};
    for (;;) {
        int count = 3;
        polls[0] = (struct pollfd){signals, POLLIN, 0};
        polls[1] = (struct pollfd){port_in, POLLIN, 0};
        polls[2] = (struct pollfd){uevents, POLLIN, 0};
        for (int i = 0; i < COMMANDS; i++) {
            struct command *c = &commands[i];
            if (!c->used) continue;
            int *fds[3] = {&c->in, &c->out, &c->err};
            for (int k = 0; k < 3; k++) {
                int *fd = fds[k];
                if (*fd < 0 || (k == 0 && c->tty && !c->filled)) continue;
                sources[count].c = c;
                sources[count].fd = fd;
                sources[count].type = k == 0 ? STDIN : k == 1 ? STDOUT : STDERR;
                // A stdin without data is watched too: POLLERR tells that its reader has gone.
                polls[count++] = (struct pollfd){*fd, k == 0 ? (c->filled ? POLLOUT : 0) : POLLIN, 0};
            }
        }
        int waiting = want_agent && port_out < 0 && is_init;
        word ready = sys(SYS_ppoll, polls, count, waiting && !want_shell ? &patience : NULL, NULL, 8);
        if (ready == 0 && waiting) {
            complain("there is no agent port (is the module virtio_console missing?)");
            shut_down(POWER_OFF);
        }
        if (ready <= 0) continue;
        if (polls[2].revents) {
            while (sys(SYS_read, uevents, scratch, sizeof scratch) > 0) {}
            open_port();
        }
        for (int i = 3; i < count; i++) {
            struct command *c = sources[i].c;
            int *fd = sources[i].fd;
            if (!polls[i].revents || !c->used || *fd != polls[i].fd) continue;
            if (sources[i].type != STDIN) {
                pump(c, fd, sources[i].type);
            } else if (polls[i].revents & POLLERR && !c->tty) {
                close_stdin(c);
                post_words(CREDIT, c->id, 2, 0, 1);
            } else {
                feed(c);
            }
        }
        // Output first, so that a command's end comes behind all it has written; then deaths, then new orders.
        if (polls[0].revents) reap();
        if (polls[1].revents & POLLIN) receive();
        else if (polls[1].revents & POLLHUP) {
            if (!is_init) leave(0);
            port_in = -1;
        }
    }
}

__attribute__((noreturn, used)) void start(void) {
    u64 all = ~0ull, child = 1ull << (SIGCHLD - 1);
    is_init = sys(SYS_getpid, 0) == 1;
    // Every signal stays blocked: children are heard of through the descriptor, and a broken pipe through its error.
    sys(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8);
    signals = sys(SYS_signalfd4, -1, &child, 8, O_NONBLOCK | O_CLOEXEC);
    if (is_init) {
        set_up_files();
        // A kernel without a console leaves these closed.
        int spare;
        do spare = open_fd("/dev/null", O_RDWR); while (spare >= 0 && spare <= 2);
        close_fd(&spare);
        read_command_line();
        if (want_agent) complain("started");
        set_up_names();
        if (want_agent) listen_uevents();
        load_modules();
        if (want_net) set_up_network();
        if (want_agent) open_port();
        if (want_shell) start_shell();
    } else {
        // Commands get 0 to 2 for themselves.
        port_in = sys(SYS_fcntl, 0, 1030, 3);
        port_out = sys(SYS_fcntl, 1, 1030, 3);
        hello();
    }
    serve();
    leave(0);
}
