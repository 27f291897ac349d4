/* Sockets at a path: they can be connected to as soon as they are seen, and never take what is another's. */
#include "sim_test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "sim-core/lock.h"
#include "sim-core/unix_socket.h"

static char dir[] = "/tmp/partita-unix.XXXXXX", path[64];

static int make_dir(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/socket", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    return rmdir(dir);
}

static void nothing_is_left(void)
{
    assert_int_equal(rmdir(dir), 0);
    assert_int_equal(mkdir(dir, 0700), 0);
}

/* -1 and errno; EAGAIN: so many wait already. */
static int dial(void)
{
    struct sockaddr_un addr;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (!sim_unix_address(path, &addr) || connect(fd, (struct sockaddr *)&addr, sizeof addr) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* A client that waits for the path to exist, again and again. */
struct client {
    _Atomic unsigned come, refused;
    _Atomic bool end;
};

static void *come_as_soon_as_it_is_there(void *arg)
{
    struct client *c = arg;
    struct stat seen, now;

    while (!c->end) {
        if (lstat(path, &seen) < 0)
            continue;
        int fd = dial();
        if (fd < 0) {
            bool refused = errno == ECONNREFUSED;
            c->refused += refused && lstat(path, &now) == 0 && now.st_ino == seen.st_ino; /* it has not gone meanwhile */
            continue;
        }
        c->come++;
        close(fd);
    }
    return NULL;
}

static void test_a_path_that_exists_can_be_connected_to(void **state)
{
    struct client c = {0};
    struct sim_thread thread = {0};

    (void)state;
    int last = -1; /* closed when there is another: an inode's number may come again at once */

    assert_int_equal(sim_thread_start(&thread, "client", come_as_soon_as_it_is_there, &c), SIM_OK);
    for (unsigned round = 0; round < 3000; round++) {
        int fd = sim_unix_listen(path, 0, 4);
        assert_true(fd >= 0);
        close(last);
        if (round % 100 == 0) /* the client has had its turn */
            for (unsigned before = c.come; c.come == before;)
                close(accept(fd, NULL, NULL));
        assert_int_equal(unlink(path), 0); /* before it is closed: nobody can see a dead one */
        last = fd;
    }
    c.end = true;
    sim_thread_join(&thread);
    close(last);
    assert_int_equal(c.refused, 0);
    assert_true(c.come >= 30);
    nothing_is_left();
}

static void test_nothing_of_others_is_replaced(void **state)
{
    struct stat before, after;

    (void)state;
    int fd = sim_unix_listen(path, SOCK_NONBLOCK, 1);
    assert_true(fd >= 0);
    assert_int_equal(lstat(path, &before), 0);
    errno = 0;
    assert_int_equal(sim_unix_listen(path, 0, 1), -1);
    assert_int_equal(errno, EADDRINUSE);
    assert_int_equal(lstat(path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    close(fd);
    fd = sim_unix_listen(path, 0, 1); /* nobody serves it any more */
    assert_true(fd >= 0);
    close(fd);
    unlink(path);
    close(open(path, O_CREAT | O_WRONLY, 0600)); /* no socket */
    assert_int_equal(sim_unix_listen(path, 0, 1), -1);
    assert_int_equal(errno, EADDRINUSE);
    assert_int_equal(unlink(path), 0);
    nothing_is_left();
}

static void test_the_longest_path(void **state)
{
    struct sockaddr_un addr;
    char longest[SIM_UNIX_PATH + 2];

    (void)state;
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    memcpy(longest, path, strlen(path));
    assert_int_equal(sim_unix_listen(longest, 0, 1), -1);
    assert_int_equal(errno, ENAMETOOLONG);
    longest[SIM_UNIX_PATH] = 0;
    int fd = sim_unix_listen(longest, 0, 1);
    assert_true(fd >= 0);
    assert_true(sim_unix_address(longest, &addr));
    int other = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(other, (struct sockaddr *)&addr, sizeof addr), 0);
    close(other);
    close(fd);
    assert_int_equal(unlink(longest), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_path_that_exists_can_be_connected_to),
        cmocka_unit_test(test_nothing_of_others_is_replaced),
        cmocka_unit_test(test_the_longest_path),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
