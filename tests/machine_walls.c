/* machine_walls: exits with 0 where a process can be walled in, else says why not and exits with 1. Scripts ask it
 * before they call `hearth run` or `hearth serve`, which start nothing where a required wall is missing. */
#include "jail/machine.h"

int main(void)
{
    const char *without = machine_without_jails();
    if (without != NULL) printf("%s\n", without);
    return without != NULL;
}
