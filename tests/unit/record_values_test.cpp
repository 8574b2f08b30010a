// What recorded reads store comes back exactly. A member that is added to a row has to be named here, and is lost unless
// record_values.hpp names it too.
#include <gtest/gtest.h>

#include <tuple>

#include "dbos/serializer.hpp"
#include "runtime/record_values.hpp"

namespace {

using namespace dbos::sysdb;

auto members(ListedWorkflow& row) {
    auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x, y, z, aa, bb, cc, dd, ee,
           ff, gg] = row;
    return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x, y, z, aa, bb, cc,
                    dd, ee, ff, gg);
}
auto members(StepRecord& row) {
    auto& [a, b, c, d, e, f, g, h, i] = row;
    return std::tie(a, b, c, d, e, f, g, h, i);
}
auto members(ScheduleRow& row) {
    auto& [a, b, c, d, e, f, g, h, i, j, k, l] = row;
    return std::tie(a, b, c, d, e, f, g, h, i, j, k, l);
}
auto members(WorkflowAggregateRow& row) {
    auto& [a, b, c, d, e, f, g, h, i, j, k] = row;
    return std::tie(a, b, c, d, e, f, g, h, i, j, k);
}
auto members(StepAggregateRow& row) {
    auto& [a, b, c, d, e, f] = row;
    return std::tie(a, b, c, d, e, f);
}

/// Another value for each member, none of them the default.
struct Fill {
    int next = 1;
    void operator()(std::string& member) { member = "text " + std::to_string(next++) + " \u00e4\n"; }
    void operator()(Text& member) { member = "maybe " + std::to_string(next++); }
    void operator()(std::int64_t& member) { member = 4'000'000'000 + next++; }
    void operator()(std::int32_t& member) { member = next++; }
    void operator()(std::optional<std::int64_t>& member) { member = next++; }
    void operator()(bool& member) { member = true; }
};

template <class Row>
void expect_round_trip() {
    const dbos::Serializer* serializer = dbos::find_serializer("portable_json");
    ASSERT_NE(serializer, nullptr);
    Row full{};
    Fill fill;
    std::apply([&](auto&... member) { (fill(member), ...); }, members(full));
    Row empty{};
    const std::string stored = serializer->encode(dbos::to_value(std::vector<Row>{full, empty}));
    std::vector<Row> back = dbos::from_value<std::vector<Row>>(serializer->decode(stored));
    ASSERT_EQ(back.size(), 2u);
    EXPECT_TRUE(members(back[0]) == members(full));
    EXPECT_TRUE(members(back[1]) == members(empty));
}

TEST(RecordValues, keep_every_member) {
    expect_round_trip<ListedWorkflow>();
    expect_round_trip<StepRecord>();
    expect_round_trip<ScheduleRow>();
    expect_round_trip<WorkflowAggregateRow>();
    expect_round_trip<StepAggregateRow>();
}

TEST(RecordValues, absent_is_not_empty) {
    ListedWorkflow row;
    row.queue_name = "";
    row.class_name = std::nullopt;
    const auto back = dbos::from_value<ListedWorkflow>(dbos::to_value(row));
    EXPECT_EQ(back.queue_name, "");
    EXPECT_EQ(back.class_name, std::nullopt);
    using Maybe = std::optional<ListedWorkflow>;
    EXPECT_FALSE(dbos::from_value<Maybe>(dbos::to_value(Maybe())).has_value());
}

}  // namespace
