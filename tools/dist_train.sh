#!/usr/bin/env bash
# Train on several GPUs of one or more machines:
#   tools/dist_train.sh CONFIG GPUS [options of mmhybrid train]
# For several machines set NNODES, NODE_RANK, MASTER_ADDR (and PORT) on each. Where the package is installed,
#   python -m torch.distributed.run --nproc_per_node=GPUS -m mmhybrid train CONFIG --launcher pytorch
# does the same.
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: $0 CONFIG GPUS [options of mmhybrid train], e.g. $0 configs/mask_rcnn_tiedresnet50_fpn_2x.py 8 --amp" >&2; exit 2; }
config=$1 gpus=$2
shift 2
exec python -m torch.distributed.run \
  --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
  --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
  --nproc_per_node="$gpus" \
  "$(dirname "$0")/train.py" "$config" --launcher pytorch "$@"
