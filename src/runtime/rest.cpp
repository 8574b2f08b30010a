// What dbos::testing asks an executor: whether it only waits, and that it look at the time.
#include <algorithm>

#include "runtime/executor.hpp"

namespace dbos::runtime {

bool Executor::at_rest(std::optional<sysdb::Millis>& next) {
    std::vector<std::shared_ptr<Run>> runs;
    {
        std::lock_guard lock(mutex_);
        if (not_begun_ > 0 || outcomes_pending_ > 0 || !reserved_.empty() || !abandoned_.empty())
            return false;
        for (const auto& [fence, run] : runs_) runs.push_back(run);
    }
    std::size_t outside = 0;
    return std::ranges::all_of(runs, [&](const auto& run) { return run->at_rest(next); }) &&
           parking_.at_rest(next) && scheduler_.at_rest(next) && claimer_.at_rest(next) &&
           hub().at_rest(outside) && database().pending_writes() == 0;
}

void Executor::time_has_passed() {
    for (const auto& queue : database().enqueue_due(durable_now(), application_name()))
        claimer_.has_work(queue);
    database().cancel_overdue(durable_now(), application_name());
    const auto fences = running();
    const auto owned = database().still_owned(fences);
    for (std::size_t n = 0; n < fences.size(); ++n) {
        if (owned[n]) continue;
        const std::string ids[] = {fences[n].workflow_id};
        const auto found = database().statuses(ids);
        run_lost(fences[n], found.empty() ? "" : found.front().second);
    }
    std::vector<std::shared_ptr<Run>> runs;
    {
        std::lock_guard lock(mutex_);
        for (const auto& [fence, run] : runs_) runs.push_back(run);
    }
    for (const auto& run : runs) run->notify();
    parking_.time_has_passed();
    scheduler_.time_has_passed();
    claimer_.time_has_passed();
}

}  // namespace dbos::runtime
