"""The flight recorder: what kernels publish (IOPub) becomes runs, whoever runs the cells, saved or not."""
