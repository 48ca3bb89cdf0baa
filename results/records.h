#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "results/sqlite.h"
#include "space/base/hash.h"

// What the store keeps, as plain values: one struct a table, one field a column (docs/store.md). Texts that
// hold JSON are stored as they come. An id of 0 means "not stored yet".
namespace nas::results {

using Id = std::int64_t;
using Time = std::int64_t;  // milliseconds since 1970-01-01 UTC

enum class RunState { queued, running, paused, done, failed, cancelled, partial };
// waiting: an earlier stage of its run is not done. held: its run is paused.
enum class TaskState { waiting, queued, held, running, done, failed, cancelled, infeasible };
enum class CandidateState { ok, infeasible, failed };
enum class Source { measured, predicted, modelled, mixed };
enum class WorkerState { idle, busy, stopped, lost };
enum class Level { debug, info, warning, error };
enum class CurveOwner { supernet, run, task, predictor };

template <>
struct Words<RunState> {
  static constexpr std::array<std::string_view, 7> kAll{"queued", "running",   "paused", "done",
                                                        "failed", "cancelled", "partial"};
};
template <>
struct Words<TaskState> {
  static constexpr std::array<std::string_view, 8> kAll{"waiting", "queued", "held",      "running",
                                                        "done",    "failed", "cancelled", "infeasible"};
};
template <>
struct Words<CandidateState> {
  static constexpr std::array<std::string_view, 3> kAll{"ok", "infeasible", "failed"};
};
template <>
struct Words<Source> {
  static constexpr std::array<std::string_view, 4> kAll{"measured", "predicted", "modelled", "mixed"};
};
template <>
struct Words<WorkerState> {
  static constexpr std::array<std::string_view, 4> kAll{"idle", "busy", "stopped", "lost"};
};
template <>
struct Words<Level> {
  static constexpr std::array<std::string_view, 4> kAll{"debug", "info", "warning", "error"};
};
template <>
struct Words<CurveOwner> {
  static constexpr std::array<std::string_view, 4> kAll{"supernet", "run", "task", "predictor"};
};

struct Dataset {
  Id id = 0;
  std::string name = {};
  std::string kind = {};  // "imagefolder", "cifar10", "idx", "shapes", …
  std::string root = {};
  std::int64_t train = 0, recalibration = 0, validation = 0, test = 0;  // images in each split
  std::string classes = "[]";                                           // JSON array of names
  std::string fingerprint = {};  // of content and splits; the identity of the record
  Time created = 0;
};

struct Space {
  Id id = 0;
  std::string name = {};
  std::string json = {};    // the definition
  std::string sha256 = {};  // of `json`; the identity of the record
};

struct Supernet {
  Id id = 0;
  std::string uid = {};  // the identity across stores; made when empty
  std::string name = {};
  Id space_id = 0;
  std::optional<Id> dataset_id = {};
  std::string config = "{}";
  std::int64_t seed = 0;
  Time created = 0;
};

struct Checkpoint {
  Id id = 0;
  Id supernet_id = 0;
  std::string stage = {};
  std::int64_t step = 0;
  std::string object = {};  // SHA-256 of the weights file under objects/
  std::int64_t bytes = 0;
  std::optional<double> validation_accuracy = {};  // in [0, 1]
  std::string rng = "{}";                          // state of the training's generators
  Time created = 0;
};

struct Device {
  Id id = 0;
  std::string name = {};  // the identity of the record
  std::string kind = {};
  std::string transport = "{}";
  std::string spec = "{}";
  std::string tags = "[]";  // JSON array; a task's needs are a subset of them
};

// One measuring of a device: numbers of different sessions are not mixed.
struct Session {
  Id id = 0;
  std::string uid = {};
  Id device_id = 0;
  std::string unit = "ns";  // of every time in the session: "ns", "cycles", "instructions"
  Source source = Source::measured;
  Time started = 0;
  std::optional<Time> ended = {};
  std::string tool_version = {};
  std::string firmware_sha256 = {};
  std::optional<double> clock_hz = {};
  std::string governor = {};
  int threads = 1;
  std::string affinity = {};
  std::optional<double> celsius_start = {}, celsius_end = {};
  std::optional<double> load = {};
  std::string info = "{}";
  std::string state = "open";  // open, done, failed
};

// Statistics of repeated measurements, in the session's unit, with the raw samples in the order taken.
struct Timing {
  std::int64_t n = 0;
  double median = 0, mean = 0, deviation = 0, p05 = 0, p90 = 0, least = 0;
  std::optional<double> energy_nj = {};
  bool steady = true;
  std::vector<std::int64_t> samples = {};
};

struct KernelTime {
  Id session_id = 0;
  std::string signature = {};  // the table key, space/kernel.h
  Timing time = {};
};

struct NetworkTime {
  Id session_id = 0;
  Id arch_id = 0;
  std::string precision = "fp32";
  Timing time = {};
  std::optional<std::int64_t> ram_bytes = {}, flash_bytes = {};
  std::string layers = "[]";
};

struct Predictor {
  Id id = 0;
  std::string uid = {};
  std::string name = {};
  std::string target = {};  // "latency_ms", "accuracy", …
  std::optional<Id> device_id = {}, session_id = {}, checkpoint_id = {};
  std::string algorithm = {};
  std::string features = {};
  std::string object = {};  // SHA-256 of the model file under objects/
  std::int64_t n_train = 0;
  std::optional<double> mape = {}, within10 = {}, kendall = {};  // fractions, on held-out data
  std::string info = "{}";
  Time created = 0;
};

struct Run {
  Id id = 0;
  std::string uid = {};
  std::string name = {};   // unique in the store; made from kind and id when empty
  std::string kind = {};   // "search", "train", "profile", "command", …
  std::string batch = {};  // name shared by the runs of one submission
  std::optional<Id> parent_id = {};
  std::optional<Id> space_id = {}, checkpoint_id = {}, device_id = {}, session_id = {};
  std::string config = "{}";
  std::string config_sha256 = {};  // computed when empty
  std::string origin = "{}";       // where each configured value came from
  std::int64_t seed = 0;
  std::string objectives = "[]";   // [{"metric":"accuracy","direction":"maximize"}, …]
  std::string constraints = "[]";  // [{"metric":"latency_ms","max":8}, …]
  std::string budget = "{}";
  int priority = 100;    // lower goes first
  int max_failures = 0;  // more failed tasks than this end the run; negative: never
  RunState state = RunState::queued;
  Time created = 0;
  std::optional<Time> started = {}, ended = {};
  std::string tool_version = {};
  std::string host = {};
  std::optional<std::int64_t> best = {};  // number of the best feasible candidate
  std::int64_t candidates = 0;            // kept by add_candidates()
  std::int64_t feasible = 0;
  std::string error = {};
  std::string note = {};
  std::string process = {};  // "pid name" of the command that works on it; empty for jobs
};

// A genotype of a space. Not owned by a run: its evaluations serve all of them.
struct Architecture {
  Id id = 0;
  Id space_id = 0;
  Hash128 hash = {};  // SearchSpace::hash of the canonical genotype; identity within the space
  Bytes8 genes = {};  // one choice index per gene
  std::string text = {};
  std::optional<std::int64_t> params = {}, macs = {};
};

// One scored genotype of one run. Numbers count from 0 in the order in which the search asked.
struct Candidate {
  Id run_id = 0;
  std::int64_t number = 0;
  Id arch_id = 0;
  std::int64_t generation = 0;
  std::optional<std::int64_t> parent_a = {}, parent_b = {};  // numbers
  std::string made_by = {};                                  // "random", "mutation", "crossover", …
  CandidateState state = CandidateState::ok;
  double violation = 0;  // 0: feasible
  bool on_front = false;
  std::optional<double> accuracy = {};                                         // in [0, 1]
  std::optional<double> latency_ms = {}, latency_low = {}, latency_high = {};  // the interval as in Estimate
  std::optional<std::int64_t> ram_bytes = {}, flash_bytes = {};
  std::optional<double> energy_mj = {};
  std::optional<std::int64_t> params = {}, macs = {};
  Source source = Source::predicted;
  std::string extra = "{}";  // other metrics: {"instructions": 123, …}
  std::string error = {};    // why it failed
  Time created = 0;
};

// The cache of evaluations, shared by all runs and devices.
struct Evaluation {
  Id arch_id = 0;
  Id checkpoint_id = 0;
  std::string split = "validation";
  int resolution = 0;
  std::string precision = "fp32";
  std::int64_t bn_samples = 0;  // images used to recalibrate batch norm
  double accuracy = 0;
  double loss = 0;
  std::int64_t n = 0;  // images
  double seconds = 0;
};

struct Snapshot {
  Id run_id = 0;
  std::int64_t step = 0;
  Bytes8 state = {};  // everything the algorithm needs to go on
  Time created = 0;
};

struct CurvePoint {
  CurveOwner owner = CurveOwner::run;
  Id owner_id = 0;
  std::string name = {};  // "train/loss", "hypervolume", …
  std::int64_t step = 0;
  double value = 0;
  Time created = 0;
};

struct Task {
  Id id = 0;
  Id run_id = 0;
  std::int64_t number = 0;  // within the run, from 0
  int stage = 0;            // starts when all earlier stages of its run are done
  std::string kind = {};
  std::string payload = "{}";
  std::string needs = "[]";          // sorted JSON array of tags a worker must have
  std::optional<Id> device_id = {};  // at most one running task a device
  int priority = 100;
  TaskState state = TaskState::queued;
  int attempt = 0;   // the current one; results of others are refused
  int failures = 0;  // attempts that failed, crashed, timed out or lost their worker
  int max_failures = 3;
  std::optional<double> limit_s = {};  // run time of one attempt
  std::optional<Id> worker_id = {};
  std::int64_t lease_until = 0;  // milliseconds on the boot clock named by lease_boot
  std::string lease_boot = {};
  std::int64_t not_before = 0;  // the same clock
  std::string stop = {};        // "cancel" or "pause": asked of the running attempt
  Time queued = 0;
  std::optional<Time> started = {}, ended = {};
  std::int64_t wait_ms = 0;  // time in the queue, all attempts
  std::int64_t run_ms = 0;   // time running, all attempts
  std::string result = "{}";
  std::string error = {};
};

struct Attempt {
  Id task_id = 0;
  int attempt = 0;
  Id worker_id = 0;
  Time started = 0;
  std::optional<Time> ended = {};
  std::int64_t wait_ms = 0;
  std::int64_t run_ms = 0;
  // done, infeasible, failed, crashed, timeout, lease expired, cancelled, paused, checkpointed, or empty:
  // running
  std::string outcome = {};
  std::string error = {};
  std::string log = {};  // path relative to the project
};

struct Worker {
  Id id = 0;
  std::string name = {};
  std::string host = {};
  std::int64_t pid = 0;
  std::string process =
      {};  // boot, pid namespace and start time: tells a dead worker from another with its pid
  std::string tags = "[]";
  std::string version = {};
  Time first_seen = 0;
  Time last_seen = 0;
  WorkerState state = WorkerState::idle;
};

struct Event {
  Id id = 0;
  Time time = 0;
  Level level = Level::info;
  std::optional<Id> run_id = {}, task_id = {};
  std::string code = {};  // "task.retry", "run.done", …
  std::string text = {};
  std::string data = "{}";
};

struct Export {
  Id id = 0;
  Id arch_id = 0;
  std::optional<Id> run_id = {};
  std::string path = {};  // relative to the project where inside it
  std::string manifest_sha256 = {};
  Time created = 0;
};

struct Artifact {
  Id export_id = 0;
  std::string path = {};
  std::string kind = {};
  std::int64_t bytes = 0;
  std::string sha256 = {};
};

// Two forms of one exported network on the same images.
struct Parity {
  Id export_id = 0;
  std::string form_a = {}, form_b = {};
  std::int64_t n = 0;
  double top1_agreement = 0;  // in [0, 1]
  double max_difference = 0, mean_difference = 0;
  std::optional<double> accuracy_a = {}, accuracy_b = {};
};

}  // namespace nas::results
