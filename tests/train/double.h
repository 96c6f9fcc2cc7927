/* The network in double precision: the very sources of src/train and the definition of the products, compiled here once
 * more with real = double. Public names get a suffix, so that a program can hold both; one that is missing from the
 * list is a duplicate symbol at link time. */
#ifndef HEARTH_TESTS_TRAIN_DOUBLE_H
#define HEARTH_TESTS_TRAIN_DOUBLE_H

#define TRAIN_REAL double
#define gemm_ref gemm_ref_f64
#define gemm_tiles gemm_tiles_f64
#define gemm_tile gemm_tile_f64
#define gemm_one gemm_one_f64
#define gemm_run gemm_run_f64
#define ops_ref ops_ref_f64
#define layout_make layout_make_f64
#define layout_find layout_find_f64
#define layout_tensor layout_tensor_f64
#define layout_layer layout_layer_f64
#define layout_init layout_init_f64
#define tensor_name tensor_name_f64
#define net_make net_make_f64
#define net_run net_run_f64
#define attention_forward attention_forward_f64
#define attention_backward attention_backward_f64
#define attention_scratch attention_scratch_f64
#define experts_forward experts_forward_f64
#define experts_backward experts_backward_f64
#define experts_aux experts_aux_f64

#include "../../src/kernels/gemm.c"
#include "../../src/train/ops.c"
#include "../../src/train/shape.c"
#include "../../src/train/net_attention.c"
#include "../../src/train/net_experts.c"
#include "../../src/train/net.c"

#endif
