/* The operations for any CPU: the definition, and which tier a CPU gets. */
#include "train/ops_body.h"

const struct ops ops_ref = OPS_TABLE("ref");
