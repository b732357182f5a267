#!/usr/bin/python3
"""Answers seconds late, once telling items that came and went between two rounds and once not; the long form is in ./run soak."""

from crmtest import Kafka, main
import order


# contract: delta.late delta.came_and_went delta.there_and_back
def test_nothing_goes_back_in_time(t):
    order.run(t, Kafka.shared(t), seed=41, mailboxes=1, messages=40, folders=4, rate=12,
              phases=((0, 5), (100, 5)), deadline_s=240)


if __name__ == "__main__":
    main(test_nothing_goes_back_in_time)
