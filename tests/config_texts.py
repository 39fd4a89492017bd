"""Texts of configs and requests that several tests start from."""

from __future__ import annotations

MINIMAL = """
name: "small"
output_dir: "out"
raw { spec: "a.h5:raw" }
network { weights: "builtin:phantom" }
inference { }
"""

# A request in the form of google/ffn's own example files, written by hand.
REQUEST = r"""
image {
  hdf5: "grayscale_maps.h5:raw"
}
image_mean: 128
image_stddev: 33
checkpoint_interval: 1800
seed_policy: "PolicyPeaks"
model_checkpoint_path: "models/fib25/model.ckpt-27465036"
model_name: "convstack_3d.ConvStack3DFFNModel"
model_args: "{\"depth\": 12, \"fov_size\": [33, 33, 33], \"deltas\": [8, 8, 8]}"
segmentation_output_dir: "results/fib25/training2"
inference_options {
  init_activation: 0.95
  pad_value: 0.05
  move_threshold: 0.9
  min_boundary_dist { x: 1 y: 2 z: 3}
  segment_threshold: 0.6
  min_segment_size: 1000
}
"""

# The same with every kind of extra a request may hold.
FULL_REQUEST = (
    REQUEST
    + r"""
masks { volume { mask { hdf5: "tissue.h5:classes" } channels { channel: 1 values: [3, 4] } } invert: true }
masks { image { channels { min_value: 0 max_value: 5 } } }
seed_masks { coordinate_expression { expression: "(z < 10) | (x > 200)" } }
shift_mask { tensorstore: "{\"driver\": \"zarr\", \"kvstore\": \"file:///data/shifts\"}" }
shift_mask_fov { start { x: -16 y: -16 z: 0 } size { x: 33 y: 33 z: 1 } }
shift_mask_scale: 2
shift_mask_threshold: 4
batch_size: 4
concurrent_requests: 8
seed_policy_args: "{\"min_distance\": 3}"
self_prediction { threshold: 0.5 }
alignment_options { type: NO_ALIGNMENT save_raw: false }
init_segmentation { precomputed: "gs://bucket/coarse" }
"""
)
