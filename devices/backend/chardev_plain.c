/* Character back ends without a connection: null, mem, stdio, file. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "chardev_priv.h"

static enum sim_status no_argument(struct chardev *c, const char *arg)
{
    if (!*arg)
        return SIM_OK;
    sim_error("serial back end '%s': '%s' takes no argument", c->spec, c->ops->name);
    return SIM_ERR_INVALID;
}

static ssize_t null_write(struct chardev *c, const uint8_t *data, size_t len)
{
    (void)c, (void)data;
    return (ssize_t)len;
}

const struct chardev_ops chardev_null_ops = {
    .name = "null", .open = no_argument, .write = null_write};

static ssize_t mem_write(struct chardev *c, const uint8_t *data, size_t len)
{
    if (c->text_len + len + 1 > c->text_cap) {
        c->text_cap = (c->text_len + len + 1) * 2;
        c->text = sim_realloc(c->text, c->text_cap);
    }
    memcpy(c->text + c->text_len, data, len);
    c->text_len += len;
    c->text[c->text_len] = 0;
    return (ssize_t)len;
}

const struct chardev_ops chardev_mem_ops = {.name = "mem", .open = no_argument, .write = mem_write};

/* --- file descriptors --- */

static bool writable_now(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};

    return poll(&p, 1, 0) > 0;
}

ssize_t chardev_fd_write(struct chardev *c, const uint8_t *data, size_t len)
{
    ssize_t n;

    if (c->fd < 0)
        return -1;
    if (c->poll_first) {
        if (!writable_now(c->fd))
            return 0;
        len = len < 256 ? len : 256;
    }
    do
        n = c->is_socket ? send(c->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL)
                         : write(c->fd, data, len);
    while (n < 0 && errno == EINTR);
    if (n >= 0)
        return n;
    if (errno == EAGAIN)
        return 0;
    if (!c->failed)
        sim_error("serial output '%s': %m; output is lost", c->spec);
    c->failed = true;
    return -1;
}

/* Non-blocking writing to fd 1 without O_NONBLOCK on it: that flag would be shared with the shell
 * and with stderr. A pipe or terminal is opened anew; where that is not possible, poll tells. */
static void open_stdout(struct chardev *c)
{
    struct stat st;

    c->fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    if (c->fd < 0 || fstat(c->fd, &st) < 0 || S_ISREG(st.st_mode))
        return;
    if (S_ISSOCK(st.st_mode)) {
        c->is_socket = true;
        return;
    }
    int again = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

    if (again < 0) {
        c->poll_first = true;
        return;
    }
    close(c->fd);
    c->fd = again;
}

static enum sim_status stdio_open(struct chardev *c, const char *arg)
{
    SIM_TRY(no_argument(c, arg));
    open_stdout(c);
    if (c->fd < 0)
        sim_warn("cannot use standard output: %m; serial output '%s' is lost", c->spec);
    return SIM_OK;
}

static void fd_close(struct chardev *c)
{
    if (c->fd >= 0)
        close(c->fd);
}

const struct chardev_ops chardev_stdio_ops = {
    .name = "stdio", .open = stdio_open, .write = chardev_fd_write, .close = fd_close};

static enum sim_status file_open(struct chardev *c, const char *arg)
{
    if (!*arg) {
        sim_error("serial back end '%s': no file name", c->spec);
        return SIM_ERR_INVALID;
    }
    /* O_NONBLOCK: it may be a pipe or a terminal. */
    c->fd = open(arg, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0666);
    if (c->fd >= 0)
        return SIM_OK;
    sim_error("cannot open '%s' for serial output: %m", arg);
    return SIM_ERR_IO;
}

const struct chardev_ops chardev_file_ops = {
    .name = "file", .open = file_open, .write = chardev_fd_write, .close = fd_close};
