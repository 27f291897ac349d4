/* `partita plan`: shows how a run would be spread over ranks and hosts, without running it. */
#ifndef LAUNCH_PLAN_CMD_H
#define LAUNCH_PLAN_CMD_H

/* argv[0..argc) are the words after "plan": those of `partita run`, and the command's own. Returns the exit
 * code. Context: the main thread. */
int plan_command(int argc, char *const *argv);

#endif
