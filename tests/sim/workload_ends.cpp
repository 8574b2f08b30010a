// Workflows that end in other ways than most: by killing their process, by a deadline, once more after a rewind, or with a history
// that does not fit their code; and one whose steps are transactions.
#include <sqlite3.h>

#include <vector>

#include "bodies.hpp"

namespace dbos::sim {

std::string fragile(const Bodies& bodies, Context& ctx, std::int64_t bits) {
    Shape shape(bits);
    std::string result = bodies.step(ctx, "step 0", {.takes = 30 * kMillisecond}) + ",";
    result += bodies.step(ctx, "step 1", bodies.plan_step(shape)) + ",";
    if (bodies.watch().dies(ctx.workflow_id())) {
        {
            const Unseen unseen;
            crash(current_process());
        }
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

namespace {

struct Reform {
    std::uint64_t count, place;
};
Reform draw_reform(Shape& shape) {
    const auto count = 3 + shape.below(2);
    return {count, shape.below(count)};
}

}  // namespace

void execute(sqlite3* database, const std::string& sql) {
    if (sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK)
        throw std::runtime_error(sql + ": " + sqlite3_errmsg(database));
}

std::int64_t reformed_place(std::int64_t bits) {
    Shape shape(bits);
    return static_cast<std::int64_t>(draw_reform(shape).place);
}

std::string reformed(const Bodies& bodies, Context& ctx, std::int64_t bits) {
    constexpr std::uint64_t kKinds = 4;
    Shape shape(bits);
    const Reform reform = draw_reform(shape);
    const bool changed = ctx.workflow_id().ends_with(kReform);
    std::string result;
    for (std::uint64_t n = 0; n < reform.count; ++n) {
        auto kind = shape.below(kKinds);
        std::string name = "step " + std::to_string(n);
        const bool only_renamed = kind == 0 && shape.below(2) == 0;
        if (changed && n == reform.place && only_renamed) name += " anew";
        if (changed && n == reform.place && !only_renamed) kind = (kind + 1) % kKinds;
        switch (kind) {
            case 0: result += bodies.step(ctx, name, {.takes = 2 * kMillisecond}) + ","; break;
            case 1: ctx.sleep(seam::Duration(20 * kMillisecond)); break;
            case 2: ctx.set_event("reform", name); break;
            default: static_cast<void>(ctx.random_uuid());
        }
    }
    return result;
}

/// Each attempt writes a value of its own; one that is not alone in its ledger was written by an attempt too many.
std::string bookkeeper(const Bodies& bodies, Context& ctx, std::int64_t bits, const SqliteDatasource& books,
                       const SqliteDatasource& system) {
    Shape shape(bits);
    std::string result;
    const auto entries = 2 + shape.below(3);
    for (std::uint64_t n = 0; n < entries; ++n) {
        const SqliteDatasource& to = shape.below(3) == 0 ? system : books;
        const bool fails = shape.below(8) == 0;
        const Nanos takes = shape.below(3) == 0 ? 30 * kMillisecond : 0;
        const std::string name = "book " + std::to_string(n);
        result += ctx.transaction(to, Name::dynamic(name), [&](sqlite3* database) {
            const std::string value = std::to_string(draw() % 1'000'000);
            execute(database, "CREATE TABLE IF NOT EXISTS ledger (workflow TEXT, name TEXT, value TEXT)");
            execute(database, "INSERT INTO ledger VALUES ('" + ctx.workflow_id() + "', '" + name + "', '" +
                                  value + "')");
            if (takes > 0) seam::sleep_for(seam::Duration(takes));
            if (fails) throw std::runtime_error("no funds");
            return value;
        }) + ",";
        if (shape.below(3) == 0)
            result += bodies.step(ctx, "step " + std::to_string(n), bodies.plan_step(shape)) + ",";
    }
    return result;
}

}  // namespace dbos::sim
