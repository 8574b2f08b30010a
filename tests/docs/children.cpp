// The programs of docs/how-to/children-and-queues.md.
#include <gtest/gtest.h>

#include <dbos/dbos.hpp>
#include <dbos/testing.hpp>

using namespace std::chrono_literals;

namespace {

using Lines = std::vector<std::string>;

inline constexpr auto Label = dbos::workflow<std::string(std::string)>("label");
inline constexpr auto Parcel =
    dbos::workflow<std::string(std::string)>("parcel");

std::string label(dbos::Context&, const std::string& order) {
    if (order.empty()) throw std::invalid_argument("no order");
    return "label of " + order;
}

// [children]
std::string parcel(dbos::Context& ctx, const std::string& order) {
    auto one = ctx.start_workflow(Label, {}, order);
    auto other =
        ctx.start_workflow(Label, {.workflow_id = "return-" + order}, order);
    return one.get_result() + ", " + other.get_result();
}
// [children]

inline constexpr auto Resize = dbos::workflow<int(std::string)>("resize");
inline constexpr auto Album = dbos::workflow<int(Lines)>("album");

// [many]
int album(dbos::Context& ctx, const std::vector<std::string>& pictures) {
    std::vector<dbos::Pending<dbos::WorkflowHandle<int>>> started;
    for (const auto& picture : pictures)
        started.push_back(ctx.start_workflow_async(
            Resize, {.queue_name = "pictures"}, picture));
    std::vector<dbos::WorkflowHandle<int>> children;
    for (auto& child : started) children.push_back(child.get());
    ctx.wait_all(children);
    int bytes = 0;
    for (const auto& child : children) bytes += child.get_result();
    return bytes;
}
// [many]

inline constexpr auto Dealer = dbos::workflow<std::string(int)>("dealer");
inline constexpr auto Fastest = dbos::workflow<std::string(int)>("fastest");

std::string dealer(dbos::Context& ctx, int number) {
    ctx.sleep(number * 1h);
    return "dealer " + std::to_string(number);
}

// [first]
std::string fastest(dbos::Context& ctx, int dealers) {
    std::vector<dbos::WorkflowHandle<std::string>> asked;
    for (int number = dealers; number > 0; --number)
        asked.push_back(ctx.start_workflow(Dealer, {}, number));
    const auto first = ctx.wait_first(asked);
    std::vector<std::string> ids;
    for (const auto& one : asked) ids.push_back(one.workflow_id());
    ctx.cancel_workflows(ids);  // the one that has ended is left alone
    return first.get_result();
}
// [first]

inline constexpr auto Sync = dbos::workflow<void(std::string)>("sync");
inline constexpr auto Edit = dbos::workflow<std::string(std::string)>("edit");

// [once]
std::string edit(dbos::Context& ctx, const std::string& account) {
    try {
        auto sync = ctx.start_workflow(
            Sync, {.queue_name = "syncs", .deduplication_id = account},
            account);
        return "started " + sync.workflow_id();
    } catch (const dbos::QueueDeduplicated&) {
        return "one is waiting or running already";
    }
}
// [once]

inline constexpr auto Publish = dbos::workflow<void(std::string)>("publish");

// [burst]
void publish(dbos::Context& ctx, const std::string& account) {
    dbos::Debouncer later(ctx, Sync,
                          {.debounce_timeout = 10min, .queue = "syncs"});
    later.debounce(account, 30s, account);  // 30 s after the last call
}
// [burst]

inline constexpr auto Offer = dbos::workflow<std::string(int)>("offer");

// [deadline]
std::string offer(dbos::Context& ctx, int hours) {
    auto hasty = ctx.start_workflow(Dealer, {}, hours);  // our deadline
    auto patient = ctx.start_workflow(Dealer, {.workflow_timeout = 48h}, hours);
    try {
        return hasty.get_result({.timeout = 2h});
    } catch (const dbos::Timeout&) {  // the child goes on
        return patient.get_result();
    }
}
// [deadline]

TEST(Children, have_ids_and_results) {
    dbos::testing::TestApp app;
    app.implement(Label, label);
    app.implement(Parcel, parcel);
    EXPECT_EQ(app.run(Parcel, {.workflow_id = "p"}, "o-1"),
              "label of o-1, label of o-1");
    const auto status = app.client().get_workflow_status("p-1");
    ASSERT_TRUE(status);
    EXPECT_EQ(status->parent_workflow_id, "p");
    EXPECT_TRUE(app.client().get_workflow_status("return-o-1"));
    EXPECT_THROW(app.run(Parcel, {}, ""), std::invalid_argument);
}

TEST(Children, are_many_on_a_queue) {
    dbos::testing::TestApp app;
    app.implement(Resize, [](dbos::Context&, const std::string& picture) {
        return static_cast<int>(picture.size());
    });
    app.implement(Album, album);
    app.configure([](dbos::App& life) {
        // [queue]
        life.register_queue({.name = "pictures",
                             .worker_concurrency = 4,  // in this process
                             .concurrency = 20});      // in all of them
        // [queue]
    });
    EXPECT_EQ(app.run(Album, {}, Lines{"a", "bb", "ccc"}), 6);
}

TEST(Children, race) {
    dbos::testing::TestApp app({.auto_advance = false});
    app.implement(Dealer, dealer);
    app.implement(Fastest, fastest);
    auto race = app.start_workflow(Fastest, {.workflow_id = "f"}, 3);
    app.clock().advance(90min);
    EXPECT_EQ(race.get_result(), "dealer 1");
    const auto lost = app.client().list_workflows(
        {.status = dbos::Status::cancelled, .parent_workflow_id = "f"});
    EXPECT_EQ(lost.size(), 2U);
}

TEST(Children, are_not_started_twice_at_a_time) {
    dbos::testing::TestApp app({.auto_advance = false});
    app.implement(Sync, [](dbos::Context& ctx, const std::string&) {
        ctx.recv("end", 24h);
    });
    app.implement(Edit, edit);
    app.register_queue({.name = "syncs"});
    EXPECT_EQ(app.run(Edit, {.workflow_id = "e"}, "ann"), "started e-1");
    EXPECT_EQ(app.run(Edit, {}, "ann"), "one is waiting or running already");
    EXPECT_EQ(app.run(Edit, {.workflow_id = "b"}, "bob"), "started b-1");
    app.client().send("e-1", 1, "end");
    app.app().retrieve_workflow(Sync, "e-1").get_result();
    EXPECT_EQ(app.run(Edit, {.workflow_id = "g"}, "ann"), "started g-1");
    app.client().cancel_workflows({"b-1", "g-1"});
}

TEST(Children, run_once_for_a_burst) {
    dbos::testing::TestApp app({.auto_advance = false});
    int syncs = 0;
    app.implement(Sync, [&](dbos::Context&, const std::string&) { ++syncs; });
    app.implement(Publish, publish);
    app.register_queue({.name = "syncs"});
    for (int n = 0; n < 3; ++n) {
        app.run(Publish, {}, "ann");
        app.clock().advance(20s);
    }
    EXPECT_EQ(syncs, 0);
    app.clock().advance(11s);
    EXPECT_EQ(syncs, 1);
}

TEST(Children, share_the_deadline_of_their_parent) {
    dbos::testing::TestApp app;
    app.implement(Dealer, dealer);
    app.implement(Offer, offer);
    EXPECT_EQ(app.run(Offer, {}, 3), "dealer 3");
    EXPECT_THROW(
        app.run(Offer, {.workflow_id = "o", .workflow_timeout = 24h}, 30),
        dbos::AwaitedWorkflowCancelled);
    app.clock().advance(1h);
    EXPECT_EQ(app.client().get_workflow_status("o-1").value().status,
              dbos::Status::cancelled);
    EXPECT_EQ(app.app().retrieve_workflow(Dealer, "o-2").get_result(),
              "dealer 30");
}

}  // namespace
