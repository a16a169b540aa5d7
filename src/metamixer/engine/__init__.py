"""Predicting on many machines: a job's inputs are spread over shards, and each shard's results are written as Parquet
parts. `job.py` knows no engine; `ray.py` runs jobs on Ray.
"""
