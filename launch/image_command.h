/* `partita checkpoint`, `migrate`, `control` and `image`. The words after the command; an exit code. */
#ifndef LAUNCH_IMAGE_COMMAND_H
#define LAUNCH_IMAGE_COMMAND_H

/* SOCKET DIR [--incremental] [--stop]: asks a running machine for an image (control.h) and shows how far it is. */
int checkpoint_command(int argc, char **argv);
/* SOCKET URI [--no-postcopy]: moves a running machine to another process. */
int migrate_command(int argc, char **argv);
/* SOCKET COMMAND [NAME=VALUE...]: any command of control.h; prints the answer. */
int control_command(int argc, char **argv);
/* ls | show | verify | diff | prune | flatten */
int image_command(int argc, char **argv);

#endif
