"""The report on a trained model: metrics, two-sample test, alarms, gallery."""
