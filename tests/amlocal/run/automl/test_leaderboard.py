from amlocal.run.automl.leaderboard import leaderboard
from amlocal.run.records import CANCELED, COMPLETED, FAILED, TrialRecord


def test_completed_trials_by_score_then_the_others():
    trials = [
        TrialRecord(0, {"learner": "a", "x": 1}, COMPLETED, started=0.0, ended=2.04, best=0.5),
        TrialRecord(1, {"learner": "b", "y": "z"}, COMPLETED, started=1.0, ended=2.0, best=0.75),
        TrialRecord(2, {"learner": "a", "x": 3}, FAILED, reason="exit code 1: no, really", started=1.0, ended=3.0),
        TrialRecord(3, {"learner": "a", "x": 4}, CANCELED),
        TrialRecord(4, {"learner": "b", "y": "w"}, COMPLETED, started=0.0, ended=1.0, best=0.75),
    ]

    assert leaderboard("AUC_weighted", trials).splitlines() == [
        "rank,trial,learner,AUC_weighted,seconds,status,reason,y,x",
        "1,1,b,0.75,1.0,Completed,,z,",
        "2,4,b,0.75,1.0,Completed,,w,",
        "3,0,a,0.5,2.0,Completed,,,1",
        ',2,a,,2.0,Failed,"exit code 1: no, really",,3',
        ",3,a,,,Canceled,,,4",
    ]
