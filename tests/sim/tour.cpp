#include "tour.hpp"

#include <sqlite3.h>

#include <stdexcept>

namespace dbos::sim {

namespace {

std::int64_t sum(sqlite3* database) {
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v2(database, "SELECT sum(amount) FROM tour_ledger", -1, &statement, nullptr) !=
        SQLITE_OK)
        throw std::runtime_error(sqlite3_errmsg(database));
    const bool found = sqlite3_step(statement) == SQLITE_ROW;
    const std::int64_t value = found ? sqlite3_column_int64(statement, 0) : -1;
    sqlite3_finalize(statement);
    return value;
}

std::string ledger(Context& ctx, const SqliteDatasource& shop) {
    for (const int amount : {10, 20}) {
        ctx.transaction(shop, "add", [amount](sqlite3* database) {
            execute(database, "CREATE TABLE IF NOT EXISTS tour_ledger (amount INTEGER)");
            execute(database, "INSERT INTO tour_ledger (amount) VALUES (" + std::to_string(amount) + ")");
        });
    }
    return std::to_string(ctx.transaction(shop, "sum", sum, {.read_only = true}));
}

/// A step as the others of the worlds: the oracle sees it begin and end.
std::string watched(StepWatch& watch, const std::string& executor, StepContext& step,
                    const std::string& value, int failures) {
    watch.begins(executor, step.workflow_id(), step.step_id(), step.attempt());
    struct Stay {
        StepWatch& watch;
        const std::string &executor, &workflow;
        ~Stay() { watch.ends(executor, workflow); }
    } const stay{watch, executor, step.workflow_id()};
    if (step.attempt() <= failures) throw std::domain_error("bad luck");
    return value;
}

}  // namespace

const std::string& tour_result() {
    static const std::string result = std::string(test::kTourResult) + ",30";
    return result;
}

void prepare_tour(App& app, StepWatch& watch) {
    const auto implement = [&](const auto& contract, auto body) {
        app.implement(contract, [body, &watch](Context& ctx, std::int64_t) {
            struct Stay {
                StepWatch& watch;
                const std::string executor, workflow;
                ~Stay() { watch.body(executor, workflow, false); }
            };
            watch.body(ctx.executor_id(), ctx.workflow_id(), true);
            const Stay stay{watch, ctx.executor_id(), ctx.workflow_id()};
            return body(ctx, [&watch, executor = ctx.executor_id()](StepContext& step,
                                                                    const std::string& value, int failures) {
                return watched(watch, executor, step, value, failures);
            });
        });
    };
    const auto system = app.system_datasource<SqliteDatasource>();
    const SqliteDatasource shop(kShop);
    implement(test::Tour, [system, shop](Context& ctx, const test::TourStep& step) {
        return test::tour(ctx, step, [&](Context& context) {
            const std::string in_system = ledger(context, system);
            return in_system + "," + ledger(context, shop);
        });
    });
    implement(test::Guest, test::guest);
    app.register_queue({.name = kWide});
    app.register_queue({.name = kNarrow, .worker_concurrency = kNarrowLimit});
    app.register_queue({.name = kShared, .concurrency = kSharedLimit});
}

}  // namespace dbos::sim
