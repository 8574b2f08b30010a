// Workflows that end in other ways than most: by killing their process, by a deadline, and once more after a rewind.
#include <vector>

#include "bodies.hpp"

namespace dbos::sim {

std::string fragile(const Bodies& bodies, Context& ctx, std::int64_t bits) {
    Shape shape(bits);
    std::string result = bodies.step(ctx, "step 0", {.takes = 30 * kMillisecond}) + ",";
    result += bodies.step(ctx, "step 1", bodies.plan_step(shape)) + ",";
    if (bodies.watch().dies(ctx.workflow_id())) {
        crash(current_process());
        seam::sleep_for(seam::Duration(kSecond));  // nobody comes back from here
    }
    return result + bodies.step(ctx, "step 2", {}) + ",";
}

std::string reviser(const Bodies& bodies, Context& ctx, std::int64_t bits) {
    Shape shape(bits);
    std::string result, last;
    const auto rounds = 2 + shape.below(2);
    for (std::uint64_t round = 0; round < rounds; ++round) {
        last = bodies.step(ctx, "step " + std::to_string(round), {});
        result += last + ",";
        ctx.set_event(kDraft, last);
        if (shape.below(2) == 0) ctx.set_event("extra " + std::to_string(round), last);
        ctx.send(ctx.workflow_id(), last, kDraft);
        // Nothing comes if a rewind has taken what was sent before its cut and not yet received.
        if (shape.below(2) == 0)
            static_cast<void>(ctx.recv<std::string>(kDraft, seam::Duration(300 * kMillisecond)));
    }
    return result;
}

std::string guardian(const Bodies& bodies, Context& ctx, std::int64_t bits) {
    Shape shape(bits);
    constexpr std::int64_t kThreeSleeps = 9990;
    std::vector<WorkflowHandle<std::string>> children;
    children.push_back(ctx.start_workflow(Scripted, {}, kThreeSleeps));
    children.push_back(ctx.start_workflow(Scripted, {.queue_name = kWide}, kThreeSleeps));
    if (shape.below(2) == 0) {
        const EnqueueOptions own{.queue_name = kShared,
                                 .workflow_timeout = seam::Duration(bodies.pace() / 2)};
        children.push_back(ctx.start_workflow(Chain, own, shape.rest()));
    }
    bodies.step(ctx, "between", {});
    for (auto& child : children) {
        try {
            child.get_result();
        } catch (const std::exception&) {  // cancelled
        }
    }
    return {};
}

}  // namespace dbos::sim
