#pragma once
#include "results/queue.h"

// The rules by which tasks and runs change state; inside the caller's transaction. Not for other folders.
namespace nas::results {

std::string host_name();

// Ends the running attempt of `task`: success, failure with or without another try, or back to the queue.
Result<void> end_attempt(Store& store, const Task& task, const Outcome& outcome);
// The same for a worker that died or fell silent.
Result<void> lose(Store& store, const Task& task);
// For all that a dead worker held; how many.
Result<int> lose_tasks_of(Store& store, Id worker);

// Lets the lowest open stage of the run start and later ones wait.
Result<void> restage(Store& store, Id run);
// Ends the run when no task of it is open, and applies its limit on failures.
Result<void> settle(Store& store, Id run);

}  // namespace nas::results
