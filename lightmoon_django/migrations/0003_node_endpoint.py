"""How nodes reach each other."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("lightmoon", "0002_records"),
    ]

    operations = [
        migrations.AddField(
            model_name="node",
            name="socket",
            field=models.CharField(db_default="", default="", max_length=100),
        ),
        migrations.AddField(
            model_name="node",
            name="channel",
            field=models.CharField(db_default="", default="", max_length=100),
        ),
        migrations.AddField(
            model_name="node",
            name="roles",
            field=models.TextField(db_default="", default=""),
        ),
    ]
